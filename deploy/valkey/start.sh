#!/bin/sh
# Usage: start.sh NAME FSYNC. Starts a Valkey with the users of NAME.acl and the passwords in /run/secrets.
# The user `admin` gets a new random password at each start, which is not stored.
set -eu
umask 077
secrets=${SECRETS:-/run/secrets}
rules=${RULES:-/etc/flashsale}
users=${USERS:-/tmp/users.acl}

hash() {
    if [ -r "$secrets/$1" ]; then
        printf %s "$(cat "$secrets/$1")"
    else
        head -c 32 /dev/urandom
    fi | sha256sum | cut -d ' ' -f 1
}

sed -e "s/\${APP}/$(hash "$1_password")/" -e "s/\${ADMIN}/$(hash admin)/" "$rules/$1.acl" >"$users"
fsync=$2
shift 2
exec valkey-server --aclfile "$users" --appendonly yes --appendfsync "$fsync" --save "" --maxmemory-policy noeviction "$@"
