"""Write deploy/digests.env: the digest of each official image of the stack, as its registry has it now.

    python -m devtools.digests    (`make digests`)

A tag may get another content, a digest never does. `make up` and `make push` read the file if it is there. Each digest
is that of the list for all platforms, so it holds on amd64 and on arm64. Run this again after a change of a version.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STACK = ROOT / "docker-compose.yaml"
DIGESTS = ROOT / "deploy" / "digests.env"
HEAD = "# Written by `make digests`: the official images of the stack by their digests.\n"
NAMED = re.compile(r"\$\{(\w+_IMAGE):-([\w./-]+:[\w.-]+)\}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main() -> None:
    """Ask for every image, and write the file when all have answered."""
    images = official(STACK.read_text(encoding="utf-8"))
    lines = [f"{setting}={image}@{digest(image)}\n" for setting, image in sorted(images.items())]
    DIGESTS.write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"wrote {len(lines)} digests to {DIGESTS.relative_to(ROOT)}; make up and make push use them")


def official(stack: str) -> dict[str, str]:
    """Return the images that a Compose file takes from registries, by the setting that overrides each."""
    return dict(NAMED.findall(stack))


def digest(image: str) -> str:
    """Return the digest of an image for all platforms; without buildx, pull the image.

    Raises:
        SystemExit: its registry does not answer, or does not have it.
    """
    asked = _docker("buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image)
    if found := DIGEST.search(asked.stdout):
        return found[0]
    pulled = _docker("pull", "--quiet", image)
    of_repository = _docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", image)
    if pulled.returncode == 0 and (found := DIGEST.search(of_repository.stdout)):
        return found[0]
    reason = (pulled.stderr or of_repository.stderr or "no digest in the answer").strip().splitlines()[-1]
    sys.exit(
        f"cannot get the digest of {image}: {reason}. Nothing is written; expected Docker and access to its registry"
    )


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("docker is not found; expected Docker and access to the registries of the images")


if __name__ == "__main__":
    main()
