#!/bin/sh
# Installs, upgrades, rolls back and removes the agent on a Linux device.
#
#   install.sh PROFILE [--node-id ID] [--cloud URL]   install, or upgrade what is there
#   install.sh --rollback                             go back to the release before
#   install.sh --uninstall [--purge]                  remove it; --purge: its configuration and its data, too
#   --prefix DIR                                      everything below DIR, and no service (tests, images)
#
# A release is a virtual environment of its own; `current` names the one that runs. An upgrade keeps the configuration and the data, is
# checked against the configuration before it takes over, and leaves the release before in place. Needs python3 with venv (3.11 or newer)
# and a package index; root, unless --prefix is given.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
profile='' node_id='' cloud='' prefix='' action=install purge=no

fail() {
    echo "install.sh: $1" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --node-id | --cloud | --prefix)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
                --node-id) node_id=$2 ;;
                --cloud) cloud=$2 ;;
                --prefix) prefix=$2 ;;
            esac
            shift
            ;;
        --rollback) action=rollback ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        --help | -h)
            sed -n '2,11s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        -*) fail "$1 is not understood; see --help" ;;
        *) profile=$1 ;;
    esac
    shift
done

opt=$prefix/opt/streamline-edge
etc=$prefix/etc/streamline
data=$prefix/var/lib/streamline
units=$prefix/etc/systemd/system

[ -n "$prefix" ] || [ "$(id -u)" -eq 0 ] || fail "this needs root; or give --prefix DIR"

service() {
    # With a prefix nothing on this machine is touched; without systemd somebody else starts the agent.
    if [ -z "$prefix" ] && command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
        systemctl "$@"
    fi
}

switch_to() {
    # A symbolic link cannot be replaced in place; a rename can.
    ln -s "$1" "$opt/current.new"
    mv -T "$opt/current.new" "$opt/current"
}

known() {
    for folder in "$here"/*/; do
        [ -f "$folder/edge.yaml" ] && basename "$folder"
    done
}

install_release() {
    if [ -z "$profile" ]; then
        [ -f "$etc/edge.yaml" ] || fail "say which profile; there are: $(known | tr '\n' ' ')"
    elif [ ! -f "$here/$profile/edge.yaml" ]; then
        fail "there is no profile $profile; there are: $(known | tr '\n' ' ')"
    fi
    "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$python is not Python 3.11 or newer with venv; set PYTHON to one"

    release=$opt/releases/$(date +%Y%m%d-%H%M%S)-$$
    mkdir -p "$opt/releases" "$etc"
    trap 'rm -rf "$release"' EXIT
    "$python" -m venv "$release"
    "$release/bin/pip" install --quiet --disable-pip-version-check "$here/..[broker]"

    if [ ! -f "$etc/edge.yaml" ]; then
        id=${node_id:-$(uname -n | tr -c 'A-Za-z0-9._\n-' '-')}
        sed -e "s|^  node_id: .*|  node_id: $id|" \
            -e "s|/etc/streamline/|$etc/|; s|/var/lib/streamline|$data|" \
            "$here/$profile/edge.yaml" >"$etc/edge.yaml.new"
        if [ -n "$cloud" ]; then
            sed -i "s|^  cloud_endpoint: .*|  cloud_endpoint: $cloud|" "$etc/edge.yaml.new"
        fi
        if [ ! -f "$etc/password" ]; then
            (umask 077 && : >"$etc/password")
        fi
        mv "$etc/edge.yaml.new" "$etc/edge.yaml"
    fi
    "$release/bin/streamline-cli" edge config check "$etc/edge.yaml" ||
        fail "the new release does not take $etc/edge.yaml; mend it and run this again. Nothing has changed"

    if [ -L "$opt/current" ]; then
        readlink "$opt/current" >"$opt/previous"
    fi
    switch_to "$release"
    trap - EXIT

    if [ -z "$prefix" ]; then
        id streamline >/dev/null 2>&1 || useradd --system --home-dir "$data" --shell /usr/sbin/nologin streamline
        chown streamline: "$etc/password"
    fi
    mkdir -p "$data" "$units/streamline-edge.service.d"
    chmod 700 "$data"
    cp "$here/systemd/streamline-edge.service" "$units/"
    if [ -n "$profile" ]; then
        cp "$here/$profile/limits.conf" "$units/streamline-edge.service.d/"
    fi
    service daemon-reload
    service enable --quiet streamline-edge
    service restart streamline-edge
    forget_old
    echo "installed: $(basename "$release"); configuration: $etc/edge.yaml; secrets: $etc/password (mode 600)"
    if [ -z "$prefix" ] && [ ! -d /run/systemd/system ]; then
        echo "there is no systemd here: start $opt/current/bin/streamline --edge --config $etc/edge.yaml by other means"
    fi
}

forget_old() {
    current=$(readlink "$opt/current")
    previous=$(cat "$opt/previous" 2>/dev/null || true)
    for folder in "$opt"/releases/*/; do
        folder=${folder%/}
        if [ "$folder" != "$current" ] && [ "$folder" != "$previous" ]; then
            rm -rf "$folder"
        fi
    done
}

rollback() {
    previous=$(cat "$opt/previous" 2>/dev/null || true)
    if [ -z "$previous" ] || [ ! -d "$previous" ]; then
        fail "there is no release before this one"
    fi
    "$previous/bin/streamline-cli" edge config check "$etc/edge.yaml" ||
        fail "the release before does not take $etc/edge.yaml; mend it and run this again. Nothing has changed"
    readlink "$opt/current" >"$opt/previous"
    switch_to "$previous"
    service restart streamline-edge
    echo "rolled back to: $(basename "$previous")"
}

uninstall() {
    service disable --now --quiet streamline-edge || true
    rm -rf "$opt" "$units/streamline-edge.service" "$units/streamline-edge.service.d"
    service daemon-reload
    if [ "$purge" = yes ]; then
        rm -rf "$etc" "$data"
        echo "removed, with configuration and data"
    else
        echo "removed; what stays: $etc and $data"
    fi
}

case $action in
    install) install_release ;;
    rollback) rollback ;;
    uninstall) uninstall ;;
esac
