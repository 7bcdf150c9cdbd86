"""A job's script and its modules, packed for machines that don't have this checkout."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path


class Code:
    """A job's script and its modules, as bytes whose digest names their place."""

    def __init__(self, script: bytes, modules: bytes, folder: str, name: str) -> None:
        self.script, self.modules = script, modules
        self.digest = sha256(script + modules).hexdigest()
        self.script_key = f"{folder}/{self.digest}/{name}"
        self.modules_key = f"{folder}/{self.digest}/pipeline_jobs.zip"

    @classmethod
    def of(cls, script: Path, modules: Path, folder: str) -> Code:
        """The code in a folder of jobs. The same files give the same bytes."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(modules.rglob("pipeline_jobs/**/*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    entry = zipfile.ZipInfo(str(path.relative_to(modules)), (1980, 1, 1, 0, 0, 0))
                    file.writestr(entry, path.read_bytes())
        return cls(script.read_bytes(), archive.getvalue(), folder, script.name)

    def unpacked(self) -> Path:
        """The script in its folder, the modules beside it; written once for each content, whole or not at all."""
        script = Path(self.script_key)
        if not script.exists():
            script.parent.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=script.parent.parent))
            with zipfile.ZipFile(io.BytesIO(self.modules)) as modules:
                modules.extractall(new)
            (new / script.name).write_bytes(self.script)
            new.chmod(0o755)
            try:
                os.rename(new, script.parent)
            except OSError:
                # Another trial was first.
                shutil.rmtree(new)
        return script
