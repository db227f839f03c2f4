// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/privileges.hpp"

#include <memory>

#include <sys/capability.h>
#include <sys/prctl.h>

namespace pm::netlink {

expected<void> keep_only_net_admin()
{
	constexpr const char *asked = "cannot give up privileges";
	for (cap_value_t each = 0; each <= CAP_LAST_CAP; ++each)
		if (each != CAP_NET_ADMIN && cap_get_bound(each) == 1)
			cap_drop_bound(each); // takes CAP_SETPCAP; without it there is little to drop
	const auto release = [](void *capabilities) { cap_free(capabilities); };
	const std::unique_ptr<_cap_struct, decltype(release)> wanted(cap_init(), release);
	const cap_value_t kept = CAP_NET_ADMIN;
	if (!wanted || cap_set_flag(wanted.get(), CAP_PERMITTED, 1, &kept, CAP_SET) != 0 ||
	    cap_set_flag(wanted.get(), CAP_EFFECTIVE, 1, &kept, CAP_SET) != 0 || cap_set_proc(wanted.get()) != 0)
		return fail_errno(asked);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return fail_errno(asked);
	return {};
}

} // namespace pm::netlink
