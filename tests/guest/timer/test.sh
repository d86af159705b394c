# SPDX-License-Identifier: GPL-2.0-only
# A flat image has an interval timer only if it asks for a machine without ACPI.
run --flat "$GUEST"
same timer/flat n "$(cat "$T/out")"
run --flat "$GUEST" --acpi off
same timer/flat-without-acpi y "$(cat "$T/out")"
