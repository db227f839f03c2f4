# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#
# What `check` wants to know of an object file of x86-64, in which KEY is a static key:
#
#   { objdump -r -j __jump_table FILE; objdump -dr --no-show-raw-insn FILE; } | awk -v key=KEY -f object-code.awk
#
#   text NAME: ...    the instructions of a function, in their order, without padding and operands, but with whom they call
#   unused NAME: ...  the same of one that looks at the key: those that can be run while the key is off
#   key NAME VERB     an instruction that is patched when the key is switched: `nop`, if it does nothing until then
#   load NAME         one that has to do with the key in another way
#   lost NAME         of one that looks at the key: it has a table of jumps, which is not followed
#
# Parts that the compiler split off (.cold, .isra ...) go by the function's name. Operands are left out because they have where
# the fields of a structure lie, and which register holds what.

# hex DIGITS: mawk does not know any
function hex(digits,    i, value)
{
	for (i = 1; i <= length(digits); i++)
		value = value * 16 + index("0123456789abcdef", substr(digits, i, 1)) - 1
	return value + 0
}

function short(name) { sub(/\.(isra|constprop|part|cold).*/, "", name); return name }

# symbol PLACE: of `symbol+0x2f`, or `symbol-0x4`; offset PLACE: what is behind it
function symbol(place) { sub(/[-+]0x[0-9a-f]+$/, "", place); return place }
function offset(place,    from)
{
	from = match(place, /[-+]0x[0-9a-f]+$/)
	if (!from)
		return 0
	return (substr(place, from, 1) == "-" ? -1 : 1) * hex(substr(place, from + 3))
}

# at PLACE, MORE: the number of the instruction there, if it is in this file. An operand counts from behind its 4 bytes.
function at(place, more,    name)
{
	name = symbol(place)
	if (name in start)
		return offset(place) + more == 0 ? start[name] : 0
	return number[name, offset(place) + more]
}

function is_key(place) { return symbol(place) == key }

/^RELOCATION RECORDS FOR \[__jump_table\]/ { table = 1; next }
/^Disassembly of section / { table = 0; section = substr($4, 1, length($4) - 1); next }
# Three for each place of a key: where, where to, which key.
table && /^[0-9a-f]+ R_X86_64_/ { record[records++] = $3; next }

/^[0-9a-f]+ <.*>:$/ { current = substr($2, 2, length($2) - 3); start[current] = count + 1; next }

/^\t+[0-9a-f]+: R_X86_64_/ { refers[count] = $3; if (is_key($3)) loads[count] = 1; next }

/^ *[0-9a-f]+:\t/ {
	words = split($0, word, /[ \t]+/)
	for (i = 1; word[i] !~ /:$/; i++) {}
	number[section, hex(substr(word[i], 1, length(word[i]) - 1))] = ++count
	in_section[count] = section
	of[count] = current
	name = word[++i]
	while (i < words && word[i] ~ /^(lock|rep|repz|repnz|bnd|notrack|data16|addr32|cs|ds|es|fs|gs|ss|rex\..*)$/)
		name = name "-" word[++i]
	if (word[i] ~ /^nop[wlq]?$/ || word[i] == "int3" || (word[i] == "xchg" && word[i + 1] ~ /^%(ax,%ax|eax,%eax)$/))
		name = "nop" # `xchg %rdi,0x8(%rbx)` is none
	verb[count] = name
	operand[count] = word[i + 1]
}

# look I: where a jump or a call goes: `target` has the instruction if that is in the same function, `called` the name of another
function look(i,    place, to)
{
	target = 0
	called = ""
	if (verb[i] !~ /^(j|(notrack-|bnd-|cs-)*(jmp|call))/ || operand[i] ~ /^\*/)
		return
	place = i in refers ? refers[i] : in_section[i] "+0x" operand[i]
	to = at(place, i in refers ? 4 : 0)
	if (to && short(of[to]) == short(of[i]) && verb[i] !~ /callq?$/)
		target = to
	else
		called = to ? short(of[to]) : symbol(place)
}

function words_of(i)
{
	look(i)
	return verb[i] == "nop" ? "" : " " verb[i] (called != "" ? ">" called : "")
}

# walk NAME: marks in `reached` what can be run from the beginning of it while the key is off. Other keys may be on.
function walk(name,    left, part, i)
{
	split("", reached)
	split("", waiting)
	waiting[left = 1] = start[name]
	while (left) {
		part = of[waiting[left]]
		for (i = waiting[left--]; i && !(i in reached) && of[i] == part; i++) {
			reached[i] = 1
			if (i in other)
				waiting[++left] = other[i]
			if (i in place_of_key)
				continue
			look(i)
			if (target)
				waiting[++left] = target
			if (verb[i] ~ /jmpq?$/ && operand[i] ~ /^\*/)
				print "lost " short(name)
			if (verb[i] ~ /(jmp|ret)q?$/)
				break
		}
	}
}

END {
	for (i = 0; i + 2 < records; i += 3) {
		from = at(record[i], 0)
		if (is_key(record[i + 2])) {
			place_of_key[from] = 1
			has_key[short(of[from])] = 1
			print "key", short(of[from]), verb[from]
		} else {
			other[from] = at(record[i + 1], 0)
		}
	}
	for (i = 1; i <= count; i++) {
		text[short(of[i])] = text[short(of[i])] words_of(i)
		if (i in loads)
			print "load", short(of[i])
	}
	for (name in text)
		print "text " name ":" text[name]
	for (entry = 1; entry <= count; entry++) {
		name = short(of[entry])
		if (start[of[entry]] != entry || of[entry] ~ /\.cold/ || !(name in has_key))
			continue
		walk(of[entry])
		for (i = 1; i <= count; i++)
			if (i in reached)
				unused[name] = unused[name] words_of(i)
	}
	for (name in unused)
		print "unused " name ":" unused[name]
}
