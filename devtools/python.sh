#!/bin/sh
# Print the command of a supported Python with pip and venv, for make:
#   sh devtools/python.sh [--download] CHECK 3.14 3.13 ...
# CHECK is the Python code that succeeds on a supported one. python3 comes first, then the newest python3.X, then those
# that uv has installed; with --download, uv gets the newest if there is none. Otherwise print what is nearest, and let make
# tell what it lacks.
may_download=''
if [ "$1" = --download ]; then may_download=yes && shift; fi
is_supported=$1 && shift

first() { # of python3 and python3.X that passes this test
    passes=$1 && shift
    for version in 3 "$@"; do
        if "$passes" "python$version" 2>/dev/null; then echo "python$version" && return; fi
    done
    return 1
}

is_right() { "$1" -c "$is_supported"; }

is_complete() { is_right "$1" && "$1" -m pip --version >/dev/null && "$1" -c 'import venv'; }

of_uv() { # the newest
    for version in "$@"; do
        found=$(UV_PYTHON_PREFERENCE=only-managed uv python find --system "$version" 2>/dev/null) && break
    done
    [ -n "$found" ] && printf '%s\n' "$found"
}

has_uv() { command -v uv >/dev/null; }

first is_complete "$@" && exit
has_uv && of_uv "$@" && exit
[ -n "$may_download" ] && has_uv && uv python install "$1" >&2 && of_uv "$@" && exit
first is_right "$@" || echo python3
