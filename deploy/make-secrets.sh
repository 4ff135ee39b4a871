#!/bin/sh
# Generates every secret of docker-compose.yml in ./secrets, a folder that only you can enter. Existing files are kept.
set -eu
umask 077
folder=${1:-secrets}
mkdir -p "$folder"
chmod 700 "$folder"

random() {
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

# The files are world-readable, because a container runs as another user. It sees only the files of its service.
keep() {
    [ -s "$folder/$1" ] || printf %s "$2" >"$folder/$1"
    chmod 644 "$folder/$1"
}

for name in postgres_admin_password postgres_password gate_password broker_password secret_key webhook_secret; do
    keep "$name" "$(random)"
done
keep stripe_api_key ""  # from Stripe's dashboard; while it is empty, the sandbox is used
keep stripe_webhook_secret ""
keep flower_basic_auth "operator:$(random)"

password() {
    cat "$folder/$1"
}

keep database_url "postgresql://flashsale:$(password postgres_password)@postgres:5432/flashsale"
keep gate_url "redis://flashsale:$(password gate_password)@gate:6379/0"
keep broker_url "redis://flashsale:$(password broker_password)@broker:6379/0"
