# SPDX-License-Identifier: GPL-2.0-only
run --flat "$GUEST" --json "$T/json"
same pvpanic/status 255 "$status"
has pvpanic/json "$T/json" '"outcome":"panic"'
