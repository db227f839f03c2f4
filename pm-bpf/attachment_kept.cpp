// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/attachment_kept.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include "pm-bpf/netns_handle.hpp"

namespace pm::bpf {

namespace {

constexpr u32 zero = 0;

std::optional<pm_attachment> read_meta(const descriptor &map)
{
	pm_attachment meta{};
	bpf_map_info info{};
	u32 size = sizeof info;
	if (!map || bpf_map_get_info_by_fd(map.get(), &info, &size) != 0 || info.value_size != sizeof meta ||
	    bpf_map_lookup_elem(map.get(), &zero, &meta) != 0 || meta.version != PM_ATTACHED_VERSION)
		return std::nullopt;
	return meta;
}

// The table of callbacks that a link has now. Headers before Linux 6.4, as those of Debian 12, do not name info.struct_ops,
// of which it is the first field; like all that depends on the type of link, it begins where raw_tracepoint does.
u32 table_of(const descriptor &link)
{
	bpf_link_info info{};
	u32 size = sizeof info, map_id = 0;
	if (!link || bpf_link_get_info_by_fd(link.get(), &info, &size) != 0)
		return 0;
	std::memcpy(&map_id, &info.raw_tracepoint, sizeof map_id);
	return map_id;
}

// Killed before or after the namespace was switched.
void complete(const pin_folder &pins, attached &found)
{
	if (found.what.complete)
		return;
	found.what.complete = 1;
	if (found.state == attached::condition::active)
		(void)write_meta(pins.open_pin(found.what.name, "meta").get(), found.what);
	else
		(void)pins.remove(found.what.name);
}

// Killed after the namespace was switched, and before what it was switched from was removed. Once it is, another one may
// get its name.
void remove_replaced(const pin_folder &pins, const attached &found)
{
	const std::string name = found.what.replaces;
	if (found.state != attached::condition::active || name.empty())
		return;
	if (const auto old = look_at(pins, name);
	    old && old->state == attached::condition::passed_over && is_netns_of(old->what, found.what))
		(void)pins.remove(name);
	pm_attachment meta = found.what;
	meta.replaces[0] = '\0';
	(void)write_meta(pins.open_pin(meta.name, "meta").get(), meta);
}

} // namespace

expected<void> write_meta(int map, const pm_attachment &meta)
{
	if (bpf_map_update_elem(map, &zero, &meta, BPF_ANY) != 0)
		return fail_errno("cannot write the description of the attachment into its BPF map");
	return {};
}

expected<std::string> path_manager_of(const netns &where) { return where.get_sysctl(path_manager_sysctl); }

expected<attached> look_at(const pin_folder &pins, const std::string &name)
{
	const descriptor described = pins.open_pin(name, "meta");
	if (!described && errno != ENOENT && errno != ENOTDIR)
		return fail_errno(fmt::format("cannot open {}/meta", pins.path_of(name)));
	const auto meta = read_meta(described);
	if (!meta)
		return fail(fmt::format("{} is not an attachment that this version of pathlab has made: `rm -r` it to "
					"take its policy off, and set net.mptcp.path_manager to another one where that "
					"names it",
					pins.path_of(name)));
	attached found;
	found.what = *meta;
	found.counted = read_counters(pins.open_pin(name, "counters").get());
	const auto where = find_netns(*meta);
	if (!where)
		return tl::unexpected(where.error());
	if (!*where) {
		found.state = attached::condition::netns_gone;
		return found;
	}
	const auto now = path_manager_of(**where);
	if (!now)
		return tl::unexpected(now.error());
	found.now = *now;
	found.state = *now == name ? attached::condition::active : attached::condition::passed_over;
	return found;
}

void mend(const pin_folder &pins)
{
	pins.sweep();
	for (const std::string &name : pins.unfinished()) {
		const auto meta = read_meta(pins.open_unfinished(name, "meta"));
		const u32 table = table_of(pins.open_unfinished(name, "link"));
		// One that was to replace another, and has done so in the kernel.
		if (meta && table != 0 && table == meta->table && pins.has(name) && pins.finish(name))
			continue;
		pins.abandon(name);
	}
	for (const std::string &name : pins.names())
		if (auto found = look_at(pins, name)) {
			complete(pins, *found);
			remove_replaced(pins, *found);
		}
}

std::optional<attached> attached_in(const pin_folder &pins, const pm_attachment &where)
{
	for (const std::string &name : pins.names())
		if (auto found = look_at(pins, name);
		    found && found->state == attached::condition::active && is_netns_of(found->what, where))
			return std::move(*found);
	return std::nullopt;
}

} // namespace pm::bpf
