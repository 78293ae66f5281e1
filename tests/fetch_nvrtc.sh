#!/usr/bin/env bash
# Gets NVRTC, the compiler of CUDA, from Python's package index, for tier T1 of the tests: tests/fetch_nvrtc.sh 12|13 FOLDER
# No device, toolkit or root is needed; the libraries (about 110 MB) lie in FOLDER afterwards. Exits with 1 where
# the index cannot be reached.
set -euo pipefail
major=${1:?usage: tests/fetch_nvrtc.sh 12|13 FOLDER}
folder=${2:?usage: tests/fetch_nvrtc.sh 12|13 FOLDER}
case $major in
  12) package=nvidia-cuda-nvrtc-cu12==12.0.140 ;;
  13) package=nvidia-cuda-nvrtc==13.5.37 ;;
  *) echo "there is no package of NVRTC $major here" >&2; exit 2 ;;
esac
[ -e "$folder/complete" ] && exit 0
wheel=$(mktemp -d)
trap 'rm -rf "$wheel"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --dest "$wheel" "$package" || exit 1
mkdir -p "$folder"
python3 - "$wheel" "$folder" <<'PYTHON'
import glob, os, sys, zipfile
for wheel in glob.glob(os.path.join(sys.argv[1], "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            base = os.path.basename(name)
            if base.startswith("libnvrtc") and ".alt." not in base:
                with open(os.path.join(sys.argv[2], base), "wb") as file:
                    file.write(archive.read(name))
PYTHON
touch "$folder/complete"
