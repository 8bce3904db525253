#!/bin/sh
# Makes a folder with a release of Debian and its package rabbitmq-server:
#   unshare --mount --pid --fork --kill-child --mount-proc sh make-debian-folder.sh RELEASE DEBIAN_FOLDER
# What it mounts and starts goes when unshare ends, as unshare's options have it.
set -eu

release=$1
debian=$2
script=/usr/share/debootstrap/scripts/$release
# A release younger than debootstrap is made as sid is.
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid

debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
  "$release" "$debian" http://deb.debian.org/debian "$script"

# Else the package starts the broker it brings.
printf '#!/bin/sh\nexit 101\n' >"$debian/usr/sbin/policy-rc.d"
chmod 755 "$debian/usr/sbin/policy-rc.d"

# What in-debian-folder.sh mounts the machine's over: not every release's base has one.
touch "$debian/etc/hosts"

mount -t proc proc "$debian/proc"
mount --rbind /dev "$debian/dev"
# The lists are signed; only how old they are is not asked, since a release that is not out yet gives its lists a week.
chroot "$debian" /usr/bin/env DEBIAN_FRONTEND=noninteractive sh -euc '
  apt-get -o Acquire::Check-Valid-Until=false update
  apt-get install --yes --no-install-recommends rabbitmq-server
  apt-get clean
  rm -rf /var/lib/apt/lists/*
'
