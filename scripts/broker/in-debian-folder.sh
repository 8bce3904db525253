#!/bin/sh
# Runs a command of a Debian folder, with the folders it shares with the machine at the same paths:
#   unshare --mount sh in-debian-folder.sh DEBIAN_FOLDER SHARED_FOLDER... -- COMMAND [ARG...]
# What it mounts is seen by this process and its children alone, by grace of unshare, and goes when they end: nothing
# stays mounted, however they end, and removing the folder can never reach what was mounted into it. The command
# replaces the shell, so the process that was started is the command's.
set -eu

debian=$1
shift
while [ "$1" != -- ]; do
  mkdir -p "$debian$1"
  mount --bind "$1" "$debian$1"
  shift
done
shift
mount -t proc proc "$debian/proc"
mount --rbind /dev "$debian/dev"
# RabbitMQ looks localhost up.
mount --bind /etc/hosts "$debian/etc/hosts"
exec chroot "$debian" "$@"
