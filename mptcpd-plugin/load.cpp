// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Between mptcpd, which is C, and the path manager: the one object that there is, and no exception beyond this point.
#include <mptcpd/path_manager.h>
#include <mptcpd/plugin.h>

#include "mptcpd-plugin/entry.hpp"
#include "mptcpd-plugin/mptcpd_api.hpp"
#include "mptcpd-plugin/path_manager.hpp"

namespace pm::plugin {

namespace {

std::unique_ptr<path_manager> here;

void handle(const pm_event &event) noexcept
{
	if (here)
		guarded([&] { here->handle(event); });
}

// mptcpd has subscribed to the events by now; while it loads its plugins it has not.
void ready(mptcpd_pm *, void *) noexcept
{
	if (here)
		guarded([] { here->start(); });
}

int create(const char *name, mptcpd_pm *pm)
{
	static const mptcpd_pm_ops when_ready = {ready, nullptr};
	auto created = path_manager::create(name, pm);
	if (!created) {
		log(severity::error, name, created.error().text);
		return -1;
	}
	if (!mptcpd_plugin_register_ops(name, &callbacks(handle)) ||
	    !mptcpd_pm_register_ops(pm, &when_ready, nullptr)) {
		log(severity::error, name, "mptcpd did not take its callbacks");
		return -1;
	}
	here = std::move(*created);
	return 0;
}

} // namespace

int load(const char *name, mptcpd_pm *pm) noexcept
{
	int result = -1;
	guarded([&] { result = create(name, pm); });
	return result;
}

void unload() noexcept { here.reset(); }

} // namespace pm::plugin
