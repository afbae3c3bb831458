#!/bin/bash
# Run once by the image's entrypoint, on an empty data folder: one role and one database each for the journal and for MLflow.
set -euo pipefail

for name in segsearch mlflow; do
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
        --set=name="$name" --set=password="$(cat "/run/secrets/postgres_${name}_password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --command='REVOKE ALL ON DATABASE postgres FROM PUBLIC'
