#!/bin/sh
# Make an authority and a certificate for each region named, unless they are there.
set -eu

[ -f /certs/ca.pem ] || dwcp certs init --dir /certs --cluster novacron
for region in "$@"; do
  [ -f "/certs/$region.pem" ] || dwcp certs issue --dir /certs --region "$region"
done
