// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A plugin: compiled once for each policy, with its name as PM_PLUGIN (without quotes).
#include "mptcpd-plugin/entry.hpp"

#include <mptcpd/plugin.h>

#define PM_TEXT_OF(name) #name
#define PM_TEXT(name) PM_TEXT_OF(name)
// MPTCPD_PLUGIN_DEFINE makes text of its argument as it stands.
#define PM_DEFINE(name, description, init, exit) \
	MPTCPD_PLUGIN_DEFINE(name, description, MPTCPD_PLUGIN_PRIORITY_LOW, init, exit)

namespace {

int init(mptcpd_pm *pm) { return pm::plugin::load(PM_TEXT(PM_PLUGIN), pm); }
void exit(mptcpd_pm *) { pm::plugin::unload(); }

} // namespace

// The lowest priority: installed beside others, it is mptcpd's path manager only where it is asked for by name.
extern "C" {
PM_DEFINE(PM_PLUGIN, "pathlab's policy " PM_TEXT(PM_PLUGIN), init, exit)
}
