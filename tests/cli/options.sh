# SPDX-License-Identifier: GPL-2.0-only
# The table of options in cmd/options.c, and what agrees with it: the parser, help, completion, the
# manual page, README. Each comparison is also made with a copy that lacks an option, or has one
# too many, and has to say so.

# NAME LETTER ARGUMENT of each row, "-" for none.
awk -F'"' '/^\t\{ "/ { row = $0; if (!/,.*,.*, ("|NULL)/) { getline; row = row $0 }
	n = split(row, part, "\""); split(part[3], mid, /, */); letter = mid[2]; gsub(/\x27/, "", letter)
	print part[2], letter == "0" ? "-" : letter, (part[3] ~ /NULL/) ? "-" : part[4] }' cmd/options.c >"$T/rows"
"$LKVM" help run >"$T/help"
"$LKVM" completion bash >"$T/completion"

# What is at both or only one side: "lacks NAME", "has NAME too many". Files of a name a line.
compare() {
	LC_ALL=C comm -3 <(LC_ALL=C sort -u "$1") <(LC_ALL=C sort -u "$2") |
		awk -F'\t' '{ print $1 != "" ? "lacks " $1 : "has " $2 " too many" }'
}

# What help says, as the table has it: "-k, --kernel FILE".
heads() { awk '{ printf "%s--%s%s\n", $2 == "-" ? "" : "-" $2 ", ", $1, $3 == "-" ? "" : " " $3 }' "$T/rows"; }
help_has() { sed -nE 's/^ +((-., )?--[^ ]+( [^ ]+)?)(  .*)?$/\1/p' "$1" >"$T/got"; heads >"$T/want"; }
# A head that reaches into the explanation's column is followed by two blanks, and others by more.
check_help() { help_has "$1"; compare "$T/want" "$T/got"; }

# The manual's items. Arguments are compared where they are words and not a grammar: on | off | rate.
check_manual() {
	awk '{ arg = tolower($3); if (arg ~ /[][=]/) arg = "..."; gsub(/\|/, " | ", arg)
		printf "%s--%s%s\n", $2 == "-" ? "" : "-" $2 " , ", $1, arg == "-" ? "" : " " arg }' "$T/rows" >"$T/want"
	sed -nE 's/^\.It (Fl .*)/\1/p' "$1" | grep -- 'Fl -' | sed -E 's/Fl /-/g; s/ (Ar|Cm) / /g' |
		sed -E 's/^((-. , )?--[a-z-]+) .*(Ns|Op).*/\1 .../' >"$T/got"
	compare "$T/want" "$T/got"
}

check_readme() {
	tests/option-list "$LKVM" >"$T/want"
	awk '/^All options:/ { getline; while ((getline > 0) && NF) print }' "$1" >"$T/got"
	compare "$T/want" "$T/got"
}

# complete SCRIPT WORD...: what bash offers for the last of the words.
complete_with() {
	bash --norc -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lkvm
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}
check_completion() {
	awk '{ print "--" $1; if ($2 != "-") print "-" $2 }' "$T/rows" >"$T/want"
	complete_with "$1" lkvm run - >"$T/got"
	compare "$T/want" "$T/got"
}

# agrees NAME FILE PATTERN: the file does; without the lines of that pattern (of one option), and
# with their copy under another name, it does not.
agrees() {
	local name=$1 file=$2 pattern=$3
	same "options/$name-agrees" "" "$(check_$name "$file")"
	sed -E "/$pattern/s/(--?)rng/\\1/" "$file" >"$T/without"
	has "options/$name-is-missed" <(check_$name "$T/without") '^lacks .*rng'
	sed -E "/$pattern/s/(--?)rng/\\1rng\\1frob/" "$file" >"$T/other"
	has "options/$name-is-too-many" <(check_$name "$T/other") '^has .*frob.* too many'
}

same options/rows "$(grep -c '^	{ "' cmd/options.c)" "$(wc -l <"$T/rows")"
has options/rows-rng "$T/rows" '^rng - on\|off\|RATE$'
has options/rows-disk "$T/rows" '^disk d FILE\[,ro\]'
has options/rows-quiet "$T/rows" '^quiet q -$'
agrees help "$T/help" '^ +--rng'
agrees manual lkvm.1 'It Fl -rng'
agrees readme README '--rng'
agrees completion "$T/completion" '-\*\) .*--rng'
# What the parser knows, and whether it wants a value.
while read -r name letter argument; do
	for o in --$name ${letter#-}; do
		[ "${o#--}" != "$o" ] || o=-$o
		if [ "$argument" != - ]; then
			"$LKVM" run $o 2>"$T/err"
			has "options/parser-$o" "$T/err" "^lkvm: option $o: needs a value$"
		elif [ "${o#--}" != "$o" ]; then
			"$LKVM" run $o=x 2>"$T/err"
			has "options/parser-$o" "$T/err" "^lkvm: (option $o=x: takes no value|$o: x: must be nothing or [a-z]+)$"
		else
			"$LKVM" run $o --frob 2>"$T/err"
			has "options/parser-$o" "$T/err" "^lkvm: option --frob: unknown"
		fi
	done
	# One of its words is offered, and the words alone.
	case $argument in
	*[\[=]*) ;;
	*[a-z]*)
		words=$(echo "$argument" | tr '|' '\n' | grep -v '[A-Z]' | sort | xargs)
		same "options/words-$name" "$words" "$(cd "$T" && mkdir -p none && cd none && complete_with "$T/completion" lkvm run --$name "" | sort | xargs)"
		;;
	esac
done <"$T/rows"
mkdir "$T/files"; : >"$T/files/bzImage one"; mkdir "$T/files/build"
here() { (cd "$T/files" && complete_with "$T/completion" "$@"); }
same options/files "bzImage one" "$(here lkvm run -c 2 -k bz)"
same options/files-after-an-equals-sign "bzImage one" "$(here lkvm run --kernel = bz)"
same options/folders build "$(here lkvm run --kernel-cache b)"
same options/kernel build "$(here lkvm run bu)"
same options/prefix "--console --console-log" "$(here lkvm run --console | xargs)"
same options/value-after-an-equals-sign serial "$(here lkvm run --console = s)"
same options/commands "run list stop pause resume stat wait debug console snapshot exec check kconfig completion version help" "$(here lkvm "" | xargs)"
# The manual's synopsis has a line for each of them.
synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' lkvm.1 | grep -A 1 '^\.Nm$' | sed -n 's/^\.Cm //p')
for c in $(here lkvm ""); do grep -qx "$c" <<<"$synopsis" && ok options/synopsis-$c || not_ok options/synopsis-$c "$synopsis"; done
same options/help check "$(here lkvm help ch)"
# Names of VMs that run.
mkdir "$T/bin"; printf '#!/bin/sh\n[ "$*" != "list -q" ] || printf "one\\ntwo\\n"\n' >"$T/bin/lkvm"; chmod +x "$T/bin/lkvm"
PATH=$T/bin:$PATH
for c in stop pause resume wait stat console debug exec snapshot; do same options/vms-of-$c "one two" "$(here lkvm $c "" | xargs)"; done
same options/vm-options "--log" "$(here lkvm console --l)"
same options/exec-behind-dashes "truncate" "$(here lkvm exec -it one -- truncat | sort -u | xargs)"
# Behind "--" no option is ours, whatever it looks like.
same options/behind-dashes "truncate" "$(here lkvm run -c 2 -- truncat | sort -u | xargs)"
same options/files-behind-dashes "bzImage one" "$(here lkvm run -- cat bz)"
same options/no-options-behind-dashes "" "$(here lkvm run -- cat --con)"

# The same in zsh and fish: what SHELL offers at the end of LINE, a line each.
zsh_offers() {
	(cd "$T/files" && timeout 60 zsh -f -c '
		zmodload zsh/zpty; zpty z zsh -f -i
		zpty -w z "PROMPT=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D
			compadd() {
				if [[ \" \${@%% -- *} \" == *\" -\"[OAD]* ]]; then builtin compadd \"\$@\"; return; fi
				local -a hits; builtin compadd -A hits \"\$@\"
				(( ! \$#hits )) || print -rl -- \"HIT:\"\$^hits; builtin compadd \"\$@\"
			}
			mark() { print END: }; comppostfuncs=(mark); bindkey \"^I\" complete-word; print READY"
		while zpty -r z x && [[ $x != *READY[[:space:]]* ]]; do; done
		zpty -w -n z "$2"$'\''\t'\''
		while zpty -r z x; do print -r -- $x; [[ $x != *END:* ]] || break; done' zsh "$T/zsh" "$1" |
		tr -d '\r' | grep -ao 'HIT:.*' | cut -c 5-)
}
fish_offers() {
	(cd "$T/files" && HOME=$T timeout 60 fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$T/fish" "$1" | cut -f 1)
}
mkdir "$T/zsh"; "$LKVM" completion zsh >"$T/zsh/_lkvm"; "$LKVM" completion fish >"$T/fish"
for shell in zsh fish; do
	if ! command -v $shell >/dev/null; then skip options/$shell "it is not installed"; continue; fi
	offers() { "${shell}_offers" "$1" | sort -u | xargs; }
	awk '{ print "--" $1; if ($2 != "-") print "-" $2 }' "$T/rows" >"$T/want"
	# To fish a lone dash is a letter's.
	{ ${shell}_offers "lkvm run -"; ${shell}_offers "lkvm run --"; } >"$T/got"
	same options/$shell-has-all-options "" "$(compare "$T/want" "$T/got")"
	same options/$shell-commands "$(here lkvm "" | sort | xargs)" "$(offers "lkvm ")"
	same options/$shell-help check "$(offers "lkvm help ch")"
	same options/$shell-vms one "$(offers "lkvm stop o")"
	same options/$shell-shells "bash fish zsh" "$(offers "lkvm completion ")"
	same options/$shell-words "serial virtio" "$(offers "lkvm run --console ")"
	same options/$shell-words-alone "on" "$(offers "lkvm run --rng on")"
	same options/$shell-equals-sign keep "$(offers "lkvm run --owner=ke" | sed 's/--owner=//')"
	same options/$shell-folder build "$(offers "lkvm run --kernel-cache b" | tr -d /)"
	same options/$shell-folder-or-word off "$(offers "lkvm run --kernel-cache o")"
	same options/$shell-file "bzImage one" "$(offers "lkvm run -c 2 -k bz" | tr -d '\\')"
	same options/$shell-kernel build "$(offers "lkvm run bu" | tr -d /)"
	same options/$shell-behind-dashes truncate "$(offers "lkvm run -c 2 -- truncat")"
	same options/$shell-files-behind-dashes "bzImage one" "$(offers "lkvm run -- cat bz" | tr -d '\\')"
	same options/$shell-no-options-behind-dashes "" "$(offers "lkvm run -- lkvm-none --con")"
done
for c in $(here lkvm ""); do
	has "options/usage-has-$c" <("$LKVM" help) "lkvm .*\\b$c\\b"
	has "options/manual-has-$c" lkvm.1 "^\\.Cm $c\\b"
done
