#!/bin/sh
# Installs, upgrades, rolls back and removes the agent on a Linux device.
#
#   install.sh PROFILE [--node-id ID] [--cloud URL] [--password-file F]   install
#   install.sh [--wheel F]           upgrade to this checkout, or to a wheel (as may the first installation)
#   install.sh --rollback            go back to the release before
#   install.sh --uninstall [--purge] remove it; --purge: its configuration and its data, too
#   --prefix DIR                     everything below DIR, and no service (tests)
#
# A release is a virtual environment of its own; `current` names the one that runs. An upgrade keeps the configuration and the data, is
# checked against the configuration before it takes over, and leaves the release before in place; the same again changes nothing. Needs
# python3 with venv (3.11 or newer; PYTHON names another) and a package index; root, unless --prefix is given.
set -eu
umask 022 # the service's user has to read what root installs

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
profile='' node_id='' cloud='' password='' wheel='' prefix='' action=install purge=no

fail() {
    echo "install.sh: $1" >&2
    exit 2
}

only_once() {
    [ "$action" = install ] || fail "one of --rollback and --uninstall, please"
}

while [ $# -gt 0 ]; do
    case $1 in
        --node-id | --cloud | --password-file | --wheel | --prefix)
            [ -n "${2:-}" ] || fail "$1 needs a value"
            case $1 in
                --node-id) node_id=$2 ;;
                --cloud) cloud=$2 ;;
                --password-file) password=$2 ;;
                --wheel) wheel=$2 ;;
                --prefix) prefix=$2 ;;
            esac
            shift
            ;;
        --rollback) only_once && action=rollback ;;
        --uninstall) only_once && action=uninstall ;;
        --purge) purge=yes ;;
        --help | -h)
            sed -n '2,13s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        -*) fail "$1 is not understood; see --help" ;;
        *)
            [ -z "$profile" ] || fail "one profile, please: $profile or $1"
            profile=$1
            ;;
    esac
    shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
[ "$action" = install ] || [ -z "$profile$node_id$cloud$password$wheel" ] || fail "--$action takes nothing but --prefix"
[ -n "$prefix" ] || [ "$(id -u)" -eq 0 ] || fail "this needs root; or give --prefix DIR"
if [ -n "$prefix" ]; then
    mkdir -p "$prefix"
    prefix=$(CDPATH='' cd -- "$prefix" && pwd)
fi

opt=$prefix/opt/streamline-edge
etc=$prefix/etc/streamline
data=$prefix/var/lib/streamline
units=$prefix/etc/systemd/system

has_systemd() {
    # With a prefix nothing on this machine is touched; without systemd somebody else starts the agent.
    [ -z "$prefix" ] && command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]
}

service() {
    if has_systemd; then systemctl "$@"; fi
}

point() {
    # A symbolic link cannot be replaced in place; a rename can.
    rm -f "$opt/$1.new"
    ln -s "$2" "$opt/$1.new"
    mv -T "$opt/$1.new" "$opt/$1"
}

target() {
    if [ -L "$opt/$1" ]; then readlink "$opt/$1"; fi
}

known() {
    for folder in "$here"/*/; do
        if [ -f "$folder/edge.yaml" ]; then basename "$folder"; fi
    done | tr '\n' ' '
}

find_profile() {
    kept=$(cat "$etc/profile" 2>/dev/null || true)
    if [ -n "$kept" ] && [ -n "$profile" ] && [ "$profile" != "$kept" ]; then
        fail "the profile here is $kept, which $etc/edge.yaml was made of; uninstall it first, or change the limits in place"
    fi
    profile=${profile:-$kept}
    [ -n "$profile" ] || fail "say which profile; there are: $(known)"
    [ -f "$here/$profile/edge.yaml" ] || fail "there is no profile $profile; there are: $(known)"
    if [ -f "$etc/edge.yaml" ] && [ -n "$node_id$cloud" ]; then
        fail "$etc/edge.yaml is there and is kept; change node_id and cloud_endpoint in it"
    fi
    [ -z "$password" ] || [ -s "$password" ] || fail "$password: there is no password in it"
}

find_python() {
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$python is not Python 3.11 or newer with venv (Debian: python3-venv); set PYTHON to one"
    case $("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))') in
        /home/* | /root/* | /run/user/*)
            [ -n "$prefix" ] || fail "$python lies in a home, which the service cannot see; set PYTHON to another, such as /usr/bin/python3"
            ;;
    esac
}

# What a release is called says all that it was made of: the version, the Python, the files, the profile.
name_of_release() {
    if [ -n "$wheel" ]; then
        [ -f "$wheel" ] || fail "there is no wheel $wheel"
        version=$(basename "$wheel" | cut -d- -f2)
    else
        version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../pyproject.toml")
    fi
    sum=$({
        cat "$here/systemd/streamline-edge.service" "$here/$profile/limits.conf"
        if [ -n "$wheel" ]; then
            cat "$wheel"
        else
            (cd "$here/.." && find pyproject.toml shared host -type f ! -path '*.egg-info/*' ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort)
        fi
    } | cksum | cut -d' ' -f1)
    echo "$version-py$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$sum"
}

make_release() {
    rm -rf "$release"
    mkdir -p "$release"
    scratch=$(mktemp -d)
    trap 'rm -rf "$release" "$scratch"' EXIT
    trap 'exit 130' HUP INT TERM
    if [ -z "$wheel" ]; then
        # Built from a copy: setuptools leaves files beside the sources, and takes those of the last time for sources.
        cp -R "$here/../pyproject.toml" "$here/../README.md" "$here/../LICENSE" "$here/../shared" "$here/../host" "$here" "$scratch"
        find "$scratch" \( -name '*.egg-info' -o -name __pycache__ \) -prune -exec rm -rf {} +
        source=$scratch
    else
        source=$(CDPATH='' cd -- "$(dirname -- "$wheel")" && pwd)/$(basename "$wheel")
    fi
    if [ -n "${STREAMLINE_INSTALL_SITE:-}" ]; then
        # For tests: the packages in this folder stand in for an index.
        "$python" -m venv --without-pip "$release"
        for folder in "$release"/lib/python*/site-packages; do echo "$STREAMLINE_INSTALL_SITE" >"$folder/site.pth"; done
        "$python" -m pip --python "$release/bin/python" install --quiet --no-deps "$source"
    else
        "$python" -m venv "$release"
        "$release/bin/python" -m pip install --quiet --disable-pip-version-check "${source}[broker]"
    fi
    rm -rf "$scratch"
    mkdir "$release/unit"
    cp "$here/systemd/streamline-edge.service" "$here/$profile/limits.conf" "$release/unit/"
    sync # before its name says that it is complete
    touch "$release/complete"
}

quoted() {
    # For the right side of sed's s|…|…|.
    printf '%s' "$1" | sed 's/[&|\\]/\\&/g'
}

scalar() {
    # As YAML, for the same.
    printf "'%s'" "$(quoted "$1" | sed "s/'/''/g")"
}

first_configuration() {
    id=${node_id:-$(uname -n | tr -c 'A-Za-z0-9._\n-' '-')}
    sed -e "s|^  node_id: .*|  node_id: $(scalar "$id")|" \
        -e "s|^  cloud_endpoint: .*|  cloud_endpoint: $(scalar "${cloud:-$(cloud_of_profile)}")|" \
        -e "s|/etc/streamline/|$(quoted "$etc")/|" \
        -e "s|/var/lib/streamline|$(quoted "$data")|" \
        "$here/$profile/edge.yaml"
}

cloud_of_profile() {
    sed -n 's/^  cloud_endpoint: //p' "$here/$profile/edge.yaml"
}

install_release() {
    find_profile
    find_python
    release=$opt/releases/$(name_of_release)
    [ -f "$release/complete" ] || make_release

    mkdir -p "$etc"
    config=$etc/edge.yaml
    if [ ! -f "$config" ]; then
        config=$etc/edge.yaml.new
        first_configuration >"$config"
    fi
    if ! "$release/bin/streamline-cli" edge config check "$config"; then
        rm -f "$etc/edge.yaml.new"
        if [ "$config" = "$etc/edge.yaml" ]; then
            fail "the new release does not take $config; mend it and run this again. Nothing has changed"
        fi
        fail "--node-id, --cloud or this machine's name is not accepted. Nothing has changed"
    fi
    trap - EXIT HUP INT TERM
    [ "$config" = "$etc/edge.yaml" ] || mv "$config" "$etc/edge.yaml"
    echo "$profile" >"$etc/profile"
    if [ -n "$password" ]; then
        (umask 077 && cat "$password" >"$etc/password.new" && mv "$etc/password.new" "$etc/password")
    elif [ ! -f "$etc/password" ]; then
        (umask 077 && : >"$etc/password")
    fi
    mkdir -p "$data"
    chmod 700 "$data"
    if [ -z "$prefix" ]; then
        id streamline >/dev/null 2>&1 || useradd --system --home-dir "$data" --shell /usr/sbin/nologin streamline
        chown streamline: "$etc/password"
        # With systemd, StateDirectory= of the unit does this at the start.
        has_systemd || chown streamline: "$data"
    fi

    before=$(target current) verb=start
    if [ "$before" != "$release" ]; then
        verb=restart
        [ -z "$before" ] || point previous "$before"
        point current "$release"
    fi
    place_unit
    service enable --quiet streamline-edge
    for folder in "$opt"/releases/*; do
        [ "$folder" = "$release" ] || [ "$folder" = "$(target previous)" ] || rm -rf "$folder"
    done
    echo "installed: $(basename "$release"); configuration: $etc/edge.yaml; secrets: $etc/password (mode 600)"
    start "$verb"
}

place_unit() {
    mkdir -p "$units/streamline-edge.service.d"
    cp "$opt/current/unit/streamline-edge.service" "$units/"
    cp "$opt/current/unit/limits.conf" "$units/streamline-edge.service.d/"
    service daemon-reload
}

start() { # start (which leaves alone what runs) or restart
    if [ ! -s "$etc/password" ] && grep -q "^  password_file: [\"']*$etc/password" "$etc/edge.yaml"; then
        # Started without one, it would only be started again and again.
        echo "before it starts: put the node's password at the broker into $etc/password, or take password_file out of $etc/edge.yaml"
        if has_systemd; then echo "then: systemctl start streamline-edge"; fi
    elif has_systemd && ! systemctl "$1" streamline-edge; then
        fail "the service does not start; journalctl -u streamline-edge says why. The release before: install.sh --rollback"
    fi
    if [ -z "$prefix" ] && ! has_systemd; then
        echo "there is no systemd here: start $opt/current/bin/streamline --edge --config $etc/edge.yaml by other means, as user streamline"
    fi
}

rollback() {
    previous=$(target previous)
    [ -f "${previous:-none}/complete" ] || fail "there is no release before this one"
    "$previous/bin/streamline-cli" edge config check "$etc/edge.yaml" ||
        fail "the release before does not take $etc/edge.yaml; mend it and run this again. Nothing has changed"
    point previous "$(target current)"
    point current "$previous"
    place_unit
    echo "rolled back to: $(basename "$previous")"
    start restart
}

uninstall() {
    if [ ! -e "$opt" ] && [ ! -e "$units/streamline-edge.service" ]; then
        # --purge may come later than --uninstall, for what that has left.
        if [ "$purge" = no ] || { [ ! -e "$etc" ] && [ ! -e "$data" ]; }; then
            echo "nothing is installed here: there is no $opt; nothing has changed"
            return
        fi
    fi
    service disable --now --quiet streamline-edge 2>/dev/null || true
    rm -rf "$opt"
    rm -f "$units/streamline-edge.service" "$units/streamline-edge.service.d/limits.conf"
    rmdir "$units/streamline-edge.service.d" 2>/dev/null || true # what else is in it is the operator's
    service daemon-reload
    if [ "$purge" = no ]; then
        echo "removed; what stays: $etc and $data"
        return
    fi
    rm -rf "$etc" "$data"
    if [ -z "$prefix" ] && id streamline >/dev/null 2>&1; then userdel streamline; fi
    echo "removed, with configuration and data"
}

case $action in
    install) install_release ;;
    rollback) rollback ;;
    uninstall) uninstall ;;
esac
