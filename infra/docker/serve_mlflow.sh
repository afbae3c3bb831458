#!/bin/sh
# MLflow takes the key that signs its forms from the environment only; this keeps it out of the container's configuration.
set -eu
MLFLOW_FLASK_SERVER_SECRET_KEY="$(cat /run/secrets/mlflow_flask_key)"
export MLFLOW_FLASK_SERVER_SECRET_KEY
exec mlflow server "$@"
