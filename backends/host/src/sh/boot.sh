# Receives one attempt: `sh -c '<this>' deploy CTL GENERATION TOKEN PACKAGE OFFSET TREE [PATCH BASE ROOM MEMORY | - WHY]`, a tar
# stream on stdin. TREE, PATCH and BASE are digests: of the tar in the package, of what makes that of the package BASE, and what that
# takes in KiB. TREE is `-` where the archive itself is wanted.
# It travels in a command line, so it only unpacks; what decides anything is launcher.sh, which it unpacks and becomes.
umask 022
trap '' HUP
c=$1 p=$4 i=$1/incoming.$3.$$ n=0 w=''
fail() {
	d=$c
	while [ ! -e "${d:-/}" ]; do d=${d%/*}; done
	df -P "${d:-/}" 2>/dev/null | {
		read -r _
		read -r _ _ _ free _
		if [ "$1" != missing_tool ] && [ "${free:-9999}" -lt 64 ]; then set -- no_space "no%20space%20left"; fi
		rm -rf "$i" 2>/dev/null
		printf 'deploy:error code=%s message=%s\n' "$1" "$2" >&2
	}
	exit 1
}
for t in tar flock setsid gzip sha256sum; do
	command -v "$t" >/dev/null || fail missing_tool "$t"
done
# The mode is for each of these folders; those above them are for everybody to look into.
# shellcheck disable=SC2174
mkdir -p -m 700 "$c" "$c/attempts" "$c/packages" "$i" 2>/dev/null || fail not_writable "cannot%20make%20the%20control%20folder"
umask 077
f=$c/packages/$p
# What starts that were killed left behind may be what takes the room.
for d in "$c"/incoming.*; do
	[ "$d" = "$i" ] || [ -d "/proc/${d##*.}" ] || rm -rf "$d"
done
# try_patch BASE ROOM MEMORY: leaves in w `patch`, or why there cannot be one.
try_patch() {
	w='the package before it is not here'
	[ -e "$c/packages/$1.tar.gz" ] || [ -e "$c/packages/$1.tree.gz" ] || return
	w='there is no zstd here that can apply a patch'
	zstd -H 2>/dev/null | grep -q patch-from || return
	w='there is too little room here for a patch'
	df -Pk "$c" 2>/dev/null | {
		read -r _
		read -r _ _ _ free _
		[ "${free:-0}" -ge "$2" ]
	} || return
	w='there is too little memory here for a patch'
	while read -r key free _; do
		if [ "$key" = MemAvailable: ] && [ "$free" -ge "$3" ]; then w="patch"; fi
	done </proc/meminfo
}
if [ "$p" = - ]; then
	:
elif [ "${6:--}" = - ] || [ -e "$f.tar.gz" ] || [ -e "$f.tar.gz.part" ]; then
	f=$f.tar.gz
elif [ -e "$f.tree.gz" ]; then
	f=$f.tree.gz w=tree
else
	if [ "${7:--}" = - ]; then w=${8:-}; else try_patch "$8" "$9" "${10}"; fi
	if [ "$w" = patch ]; then f=$c/packages/$7.patch; else f=$f.tar.gz; fi
fi
if [ "$p" != - ]; then
	if [ -e "$f" ]; then n=$(wc -c <"$f"); elif [ -e "$f.part" ]; then n=$(wc -c <"$f.part"); fi
	n=$((n))
fi
case $w in
patch | tree) echo "deploy:have bytes=$n way=$w" >&2 ;;
*) echo "deploy:have bytes=$n" >&2 ;;
esac
if tar -xof - -C "$i" && [ -f "$i/launcher.sh" ]; then
	trap - HUP
	set -- start "$c" "$2" "$3" "$p" "$5" "$n" "$i" "$w" "${10:-0}"
	# shellcheck source=backends/host/src/sh/launcher.sh
	. "$i/launcher.sh"
fi
# The stream was cut. What came of the package is kept, so that the next try goes on from there.
if [ -s "$i/package.chunk" ] && [ "$p" != - ] && [ ! -e "$f" ]; then
	exec 9>>"$c/packages/lock"
	flock 9
	s=0
	[ ! -e "$f.part" ] || s=$(wc -c <"$f.part")
	if [ "$((s))" -ne "$n" ]; then
		:
	elif [ "$n" -eq 0 ]; then
		mv -f "$i/package.chunk" "$f.part"
	else
		cat "$i/package.chunk" >>"$f.part"
	fi
fi
fail bad_stream "the%20stream%20ended%20early"
