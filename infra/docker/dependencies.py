"""Print the run-time dependencies of a pyproject.toml, one a line; requirements.lock gives their versions as constraints."""

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    print("\n".join(project["dependencies"]))
