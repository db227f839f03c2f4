// SPDX-License-Identifier: GPL-2.0-only
//
// The policies as BPF: for each row of policies.def an entry point that the C shell calls, with the engine below it. The
// verifier checks these as global functions, hence the null checks.
#include "pm-core/engine.hpp"
#include "pm-core/policies/all.hpp"

#define PM_POLICY(name)                                                                                           \
	extern "C" int pm_handle_##name(const pm_namespace *ns, pm_connection *connection, const pm_event *event, \
					const pm_settings *settings, pm_result *result)                           \
	{                                                                                                         \
		if (!ns || !connection || !event || !settings || !result)                                         \
			return -1;                                                                                \
		pm::handle<pm::policies::name>(*ns, *connection, *event, *settings, *result);                     \
		return 0;                                                                                         \
	}
#include "pm-core/policies/policies.def"

extern "C" int pm_handle_namespace(pm_namespace *ns, const pm_event *event, pm_result *result)
{
	if (!ns || !event || !result)
		return -1;
	pm::fold_namespace(*ns, *event, *result);
	return 0;
}

// An event without a decision: of a connection that is being read back.
extern "C" int pm_fold(const pm_namespace *ns, pm_connection *connection, const pm_event *event, pm_result *result)
{
	if (!ns || !connection || !event || !result)
		return -1;
	pm::begin(*event, *result);
	pm::apply(*ns, *connection, *event, *result);
	return 0;
}

// The place of an address among the namespace's, or pm::none.
extern "C" int pm_listed_place(pm_namespace *ns, const pm_addr *address)
{
	if (!ns || !address)
		return -1;
	return static_cast<int>(pm::find_listed(*ns, *address));
}
