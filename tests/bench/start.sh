# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what starting and stopping costs with and without the sandbox, and what its walls cost
# by themselves. Virtual microseconds, medians of 40 runs.
export HOME=/tmp
lkvm="lkvm run -m 64 --rng off --flat /flat"
measure 40 $lkvm -- $lkvm --sandbox off -- walls none -- walls alone >/tmp/rows
{ read -r _ wall_on cpu_on _; read -r _ wall_off cpu_off _; read -r _ wall_none cpu_none _; read -r _ wall_alone cpu_alone _; } </tmp/rows
awk '$6 { print "# runs that failed: " $0 }' /tmp/rows
row() { printf '%-26s %8s %8s %8s\n' "$1" "$2" "$3" "$(awk "BEGIN { printf \"%.2f\", $3 / $4 }")"; }
row "lkvm" "$wall_on" "$cpu_on" "$cpu_off"
row "lkvm, no sandbox" "$wall_off" "$cpu_off" "$cpu_off"
row "  and its walls alone" $((wall_off + wall_alone - wall_none)) $((cpu_off + cpu_alone - cpu_none)) "$cpu_off"
