// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C shell around the policies: maps, helpers, and for each policy a program for BPF_PROG_TEST_RUN, which takes the
 * next event of a batch, looks its connection up, lets the policy handle it and leaves the commands in the result. With
 * `repeat` N a test run handles N events in a row, inside the kernel's own loop.
 *
 * It runs on any kernel since 6.1; it manages no connection by itself.
 */
#include <linux/bpf.h> /* first: the helpers need its types */

#include <bpf/bpf_helpers.h>

#include "pm-core/types.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before loading: write the time into each result. The benchmark does without. */
const volatile int pm_stamp = 1;

/* The place in the batch of the event that the next run handles. */
pm_u32 pm_cursor = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536); /* as loaded: what the loader was asked for */
	__type(key, pm_u32);
	__type(value, struct pm_connection);
} pm_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_settings);
} pm_policy_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_namespace);
} pm_local_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PM_BATCH);
	__type(key, pm_u32);
	__type(value, struct pm_event);
} pm_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PM_BATCH);
	__type(key, pm_u32);
	__type(value, struct pm_result);
} pm_results SEC(".maps");

static const struct pm_connection no_connection;

extern int pm_handle_namespace(struct pm_namespace *ns, const struct pm_event *event, struct pm_result *result);

/* A verdict that needs no policy. */
static __always_inline void conclude(const struct pm_event *event, struct pm_result *result, pm_u8 status)
{
	result->seq = event->seq;
	result->token = event->token;
	result->commands = 0;
	result->full_locals = result->full_remotes = result->full_subflows = 0;
	result->exhausted = result->kept = 0;
	result->status = status;
}

/* The connection that the event is about; NULL when the result says already what became of the event. */
static __always_inline struct pm_connection *find_connection(struct pm_namespace *ns, const struct pm_event *event,
							     struct pm_result *result)
{
	struct pm_connection *connection;
	pm_u32 token = event->token;

	if (!token) {
		if (PM_ABOUT_NAMESPACE(event->type))
			pm_handle_namespace(ns, event, result);
		else
			conclude(event, result, PM_IGNORED);
		return NULL;
	}
	connection = bpf_map_lookup_elem(&pm_connections, &token);
	if (event->type == PM_CLOSED) {
		conclude(event, result, connection ? PM_FOLDED : PM_UNKNOWN);
		bpf_map_delete_elem(&pm_connections, &token);
		return NULL;
	}
	if (connection)
		return connection;
	if (!PM_ENTERS_TABLE(event->type)) {
		conclude(event, result, PM_UNKNOWN);
		return NULL;
	}
	if (!bpf_map_update_elem(&pm_connections, &token, &no_connection, BPF_NOEXIST))
		connection = bpf_map_lookup_elem(&pm_connections, &token);
	if (!connection)
		conclude(event, result, PM_TABLE_FULL);
	return connection;
}

#define PM_POLICY(policy)                                                                               \
	extern int pm_handle_##policy(const struct pm_namespace *ns, struct pm_connection *connection,  \
				      const struct pm_event *event, const struct pm_settings *settings, \
				      struct pm_result *result);                                        \
                                                                                                        \
	SEC("tc")                                                                                       \
	int pm_run_##policy(struct __sk_buff *skb)                                                      \
	{                                                                                               \
		pm_u32 zero = 0, place = pm_cursor++ & (PM_BATCH - 1);                                  \
		struct pm_namespace *ns = bpf_map_lookup_elem(&pm_local_addresses, &zero);              \
		struct pm_settings *settings = bpf_map_lookup_elem(&pm_policy_settings, &zero);         \
		struct pm_event *event = bpf_map_lookup_elem(&pm_events, &place);                       \
		struct pm_result *result = bpf_map_lookup_elem(&pm_results, &place);                    \
		struct pm_connection *connection;                                                       \
                                                                                                        \
		if (!ns || !settings || !event || !result)                                              \
			return -1;                                                                      \
		connection = find_connection(ns, event, result);                                        \
		if (connection)                                                                         \
			pm_handle_##policy(ns, connection, event, settings, result);                    \
		if (pm_stamp)                                                                           \
			result->done_ns = bpf_ktime_get_ns();                                           \
		return 0;                                                                               \
	}
#include "pm-core/policies/policies.def"
