/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The plain structs that C, C++ and BPF share: events, commands, the state of a connection and of its namespace.
 *
 * Everything is fixed in size, so that the same bytes can be a BPF map value, a C++ object and a global function's
 * argument. Names are those of RFC 8684 and of the kernel (token, address id, subflow, announce, backup). Nothing here
 * has behaviour; see connection.hpp and engine.hpp for that.
 */
#ifndef PM_CORE_TYPES_H
#define PM_CORE_TYPES_H

#ifdef __VMLINUX_H__ /* a BPF C program has these names from vmlinux.h */
typedef __u8 pm_u8;
typedef __u16 pm_u16;
typedef __u32 pm_u32;
typedef __u64 pm_u64;
#else
typedef unsigned char pm_u8;
typedef unsigned short pm_u16;
typedef unsigned int pm_u32;
typedef unsigned long long pm_u64;
#endif

#ifdef __cplusplus
#define PM_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define PM_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Capacities. Powers of two: an index is bounded by a mask, which the BPF verifier follows. */
enum {
	PM_MAX_LOCALS = 8,       /* local addresses of a namespace, and of a connection */
	PM_MAX_REMOTES = 8,      /* remote addresses of a connection, its initial one included */
	PM_MAX_SUBFLOWS = 64,    /* subflows of a connection, in any state */
	PM_MAX_COMMANDS = 128, /* commands that one event may cause: one for each subflow and each local address fit */
	PM_MAX_SETTINGS = 4, /* settings of a policy */
	PM_MAX_FAILURES = 3, /* subflows that may fail in a row on an address pair before it is left alone */
	PM_MAX_CLOSURES = 10, /* established ones that somebody else may close on it */
	PM_BATCH = 256, /* events that the BPF program can be handed at once */
};

/* What happened. The values up to PM_LISTENER_CLOSED are those of enum mptcp_event_type in linux/mptcp_pm.h. */
enum pm_event_type {
	PM_EVENT_NONE = 0,
	PM_CREATED = 1,
	PM_ESTABLISHED = 2,
	PM_CLOSED = 3,
	PM_ANNOUNCED = 6,
	PM_REMOVED = 7,
	PM_SUB_ESTABLISHED = 10,
	PM_SUB_CLOSED = 11,
	PM_SUB_PRIORITY = 13,
	PM_LISTENER_CREATED = 15,
	PM_LISTENER_CLOSED = 16,
	/* Not from the path-manager group. With token 0 these are about the namespace; a connection's own copy follows. */
	PM_LOCAL_ADDED = 32,
	PM_LOCAL_REMOVED = 33,
	/*
	 * Adoption of a connection's state that was read back: RESYNC_BEGIN marks all that is known as unconfirmed, ordinary
	 * events describe what exists, RESYNC_END drops what none of them confirmed and compares with the plan.
	 */
	PM_RESYNC_BEGIN = 40,
	PM_RESYNC_END = 41,
	PM_COMMAND_FAILED = 42, /* the kernel refused the command about (local, remote) that `command` names */
	PM_SUB_OPENING = 43, /* between BEGIN and END, behind the established ones: a subflow is being opened */
	PM_RETRY = 44, /* time has passed: what failed may be tried again, and a held connection is looked at */
};

/* Events with which a connection enters the table of connections, should it not be there. PM_CLOSED takes it out. */
#define PM_ENTERS_TABLE(type) ((type) == PM_CREATED || (type) == PM_ESTABLISHED || (type) == PM_RESYNC_BEGIN)
/* Events that are about the namespace when they carry no token. */
#define PM_ABOUT_NAMESPACE(type) ((type) == PM_LOCAL_ADDED || (type) == PM_LOCAL_REMOVED)

enum pm_event_flag {
	PM_SERVER_SIDE = 1 << 0, /* the peer opened the connection */
	PM_DENY_JOIN_ID0 = 1 << 1, /* the peer refuses joins to its initial address (the C flag of MP_CAPABLE) */
	PM_BACKUP = 1 << 2, /* the peer asked for the subflow to be a backup; of a command: ask for it */
	PM_LISTED_ALL = 1 << 3, /* of RESYNC_END: every address that the peer announces was listed */
	PM_ASKED_BACKUP = 1 << 4, /* between BEGIN and END: it is one because this side asked for it */
	PM_IPV4_SOCKET = 1 << 5, /* of CREATED, ESTABLISHED, SUB_ESTABLISHED: the socket is of AF_INET */
	PM_MAPPED = 1 << 6, /* of a command: between IPv4 addresses, but the subflow's socket is of AF_INET6 */
};

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. Bytes in network order. */
struct pm_addr {
	union {
		pm_u8 bytes[16];
		pm_u64 half[2];
	};
};

/* One event. Fields that its type does not carry are zero. Ports in host order. */
struct pm_event {
	pm_u64 time_ns; /* when it happened, as far as the source knows; never used for a decision */
	pm_u32 token; /* 0: about the namespace */
	pm_u32 seq; /* its place in a replayed trace, counted from 1; 0 from the kernel */
	pm_u8 type; /* enum pm_event_type */
	pm_u8 flags; /* enum pm_event_flag */
	pm_u8 local_id;
	pm_u8 remote_id;
	pm_u16 local_port;
	pm_u16 remote_port;
	pm_u32 ifindex;
	pm_u8 error; /* errno of a subflow that closed */
	pm_u8 has_local; /* `local` is set */
	pm_u8 has_remote; /* `remote` is set */
	pm_u8 command; /* enum pm_command_type, of COMMAND_FAILED */
	struct pm_addr local;
	struct pm_addr remote;
};
PM_STATIC_ASSERT(sizeof(struct pm_event) == 64, "one cache line");

/* What to do. The values are those of the MPTCP_PM_CMD_* in linux/mptcp_pm.h. */
enum pm_command_type {
	PM_SET_BACKUP = 7, /* MPTCP_PM_CMD_SET_FLAGS */
	PM_ANNOUNCE = 8,
	PM_WITHDRAW = 9, /* MPTCP_PM_CMD_REMOVE */
	PM_OPEN_SUBFLOW = 10,
	PM_CLOSE_SUBFLOW = 11,
};

struct pm_command {
	pm_u32 token;
	pm_u8 type; /* enum pm_command_type */
	pm_u8 flags; /* PM_BACKUP, PM_MAPPED */
	pm_u8 local_id;
	pm_u8 remote_id;
	pm_u16 local_port; /* 0: the kernel chooses */
	pm_u16 remote_port;
	pm_u32 ifindex; /* 0: any */
	struct pm_addr local;
	struct pm_addr remote;
};
PM_STATIC_ASSERT(sizeof(struct pm_command) == 48, "no padding: commands are compared as bytes");

/* The local addresses of a namespace, and how often they have changed. */
struct pm_namespace {
	struct pm_addr local[PM_MAX_LOCALS]; /* what is not present was, until its place is needed */
	pm_u32 ifindex[PM_MAX_LOCALS];
	pm_u32 generation; /* rises with every change */
	pm_u8 present; /* bit l: local[l] is an address of the namespace */
	pm_u8 found; /* scratch: see PM_HIDDEN in platform.hpp */
	pm_u8 reserved[2];
};
PM_STATIC_ASSERT(sizeof(struct pm_namespace) == 168, "shared with BPF");

enum pm_subflow_state {
	PM_SUBFLOW_NONE = 0,
	PM_SUBFLOW_OPENING = 1, /* asked for, not seen yet: its local port is unknown */
	PM_SUBFLOW_ESTABLISHED = 2,
	PM_SUBFLOW_CLOSING = 3, /* asked to close, not seen to be gone */
};

enum pm_subflow_flag {
	PM_SUBFLOW_BACKUP = 1 << 0, /* the peer asked for it */
	PM_SUBFLOW_INITIAL = 1 << 1, /* the one that MP_CAPABLE opened */
	PM_SUBFLOW_STALE = 1 << 2, /* not confirmed since RESYNC_BEGIN */
	PM_SUBFLOW_ASKED_BACKUP = 1 << 3, /* this side asked for it to be a backup */
	PM_SUBFLOW_IPV4_SOCKET = 1 << 4, /* its socket is of AF_INET: in that family the kernel finds it */
};

/* One subflow, as places in the connection's address tables and two ports: 64 of them must fit in a connection. */
struct pm_subflow {
	union {
		struct {
			pm_u8 local; /* place in local[] */
			pm_u8 remote; /* place in remote[] */
			pm_u16 local_port;
			pm_u16 remote_port;
			pm_u8 state; /* enum pm_subflow_state */
			pm_u8 flags; /* enum pm_subflow_flag */
		};
		pm_u64 word; /* all of it, to compare at once */
	};
};
PM_STATIC_ASSERT(sizeof(struct pm_subflow) == 8, "compared as one word");

enum pm_connection_flag {
	PM_CONN_SERVER_SIDE = 1 << 0,
	PM_CONN_DENY_JOIN_ID0 = 1 << 1,
	PM_CONN_ESTABLISHED = 1 << 2,
	PM_CONN_RESYNCING = 1 << 3,
	PM_CONN_HELD = 1 << 4, /* set by the shell: nothing is decided before the next PM_RETRY */
	PM_CONN_IPV4_SOCKET = 1 << 5, /* it takes no IPv6 path */
	PM_CONN_KEPT = 1 << 6, /* what stands on an address that is gone was kept: see enum pm_kept */
};

/*
 * One connection. Place 0 of each address table is the address of the initial subflow (address id 0). The masks have
 * one bit for each place.
 */
struct pm_connection {
	pm_u32 token;
	pm_u32 generation; /* of the namespace, when its addresses were last taken over */
	pm_u8 flags; /* enum pm_connection_flag */
	pm_u8 subflows; /* places of subflow[] in use are all below this one */
	pm_u8 locals; /* places of local[] with an address */
	pm_u8 local_ipv4; /*   ... that is IPv4 */
	pm_u8 local_listed; /*   ... that the namespace has listed */
	pm_u8 local_gone; /*   ... that it has listed and lists no more */
	pm_u8 remotes; /* places of remote[] with an address */
	pm_u8 remote_ipv4; /*   ... that is IPv4 */
	pm_u8 remote_gone; /*   ... that the peer has removed */
	pm_u8 remote_known; /*   ... that new subflows may go to: announced, initial, or gone to before */
	pm_u8 remote_stale; /*   ... not confirmed since RESYNC_BEGIN */
	pm_u8 found; /* scratch: see PM_HIDDEN in platform.hpp */
	pm_u8 last_local_id; /* the highest address id that was given to a local address */
	pm_u8 announced; /* places of local[] that the peer was told of */
	pm_u8 announce_refused; /*   ... that the kernel would not announce */
	pm_u8 shell_tries; /* for the shell around the engine, which has a clock: see pm-netlink/pacing.hpp */
	pm_u16 shell_second;
	pm_u16 shell_spent;
	pm_u16 local_port; /* of the initial subflow, which names the connection in the kernel's tables */
	pm_u16 remote_port;
	struct pm_addr local[PM_MAX_LOCALS];
	struct pm_addr remote[PM_MAX_REMOTES];
	pm_u8 local_id[PM_MAX_LOCALS]; /* 0 beyond place 0: none given yet */
	pm_u8 local_from[PM_MAX_LOCALS]; /* its place among the namespace's addresses, if listed */
	pm_u8 remote_id[PM_MAX_REMOTES];
	pm_u16 remote_listen_port[PM_MAX_REMOTES];
	union { /* of each address pair: low four bits: failed in a row; high: closed by others */
		pm_u8 failures[PM_MAX_LOCALS][PM_MAX_REMOTES];
		pm_u64 failures_row[PM_MAX_LOCALS];
	};
	struct pm_subflow subflow[PM_MAX_SUBFLOWS];
};
PM_STATIC_ASSERT(sizeof(struct pm_connection) <= 904, "1 KiB for each tracked connection, map overhead included");

/* The values of a policy's settings, in the order in which the policy declares them. */
struct pm_settings {
	pm_u32 value[PM_MAX_SETTINGS];
};

/* A number of subflows for each address pair. */
struct pm_pairs {
	union {
		pm_u8 subflows[PM_MAX_LOCALS][PM_MAX_REMOTES];
		pm_u64 row[PM_MAX_LOCALS];
	};
};

/* What a connection should have: the answer of a policy. Masks of places of local[]. */
struct pm_plan {
	union {
		pm_u8 subflows[PM_MAX_LOCALS][PM_MAX_REMOTES];
		pm_u64 row[PM_MAX_LOCALS];
	};
	pm_u8 announce; /* addresses that the peer should know of */
	pm_u8 backup; /* addresses whose subflows this side wants as backups */
	pm_u16 announce_port; /* that they are announced with; 0: without one */
	pm_u32 reserved;
};

/* What became of an event. */
enum pm_status {
	PM_DECIDED = 0, /* folded in, the plan compared */
	PM_FOLDED = 1, /* folded in; nothing to compare yet, or nothing changed */
	PM_UNKNOWN = 2, /* about a connection that was never created, or is closed */
	PM_TABLE_FULL = 3, /* no room for one more connection: the event is lost */
	PM_IGNORED = 4, /* of a type that no policy needs */
	PM_LOCALS_CHANGED = 5, /* the namespace's addresses are others now: each connection is to be looked at */
};

/* Why a subflow that is to go was kept. */
enum pm_kept {
	PM_KEPT_LAST = 1 << 0, /* there is no other */
	PM_KEPT_UNTIL_RETRY = 1 << 1, /* the other is so new that the kernel may not tell the peer anything by it yet */
};

/*
 * What handling one event yields. The engine's scratch lives here, not on the stack, because the verifier follows every
 * value that a stack slot can have.
 */
struct pm_result {
	pm_u64 done_ns; /* when the event was handled, on the clock of the host */
	pm_u32 seq; /* of the event */
	pm_u32 token; /* of the connection; 0: it is about the namespace */
	pm_u8 status; /* enum pm_status */
	pm_u8 commands; /* of command[] that are set */
	pm_u8 full_locals; /* did not fit: local addresses of the connection or of the namespace, */
	pm_u8 full_remotes; /*   ... remote addresses, */
	pm_u8 full_subflows; /*   ... subflows */
	pm_u8 exhausted; /* address pairs left alone after failing too often */
	pm_u8 ours; /* scratch: subflows are ours to open and close, not only the peer's */
	pm_u8 surplus; /* scratch: an address pair has more subflows than planned, */
	pm_u8 priority; /*   ... or a subflow is a backup and should not be, or the other way round */
	pm_u8 local; /* scratch: places of the event's addresses, or of the one that a stage is about, */
	pm_u8 remote;
	pm_u8 place; /*   ... and of the subflow that is meant */
	pm_u8 locals_in_use; /* scratch: places that a subflow in any state refers to */
	pm_u8 remotes_in_use;
	pm_u8 kind; /* scratch: of the command that is being emitted */
	pm_u8 orphans; /* scratch: a subflow is established on an address that is gone, */
	pm_u8 standing; /*   ... and so many are on addresses that are there */
	pm_u8 kept; /* enum pm_kept; 0: none was */
	pm_u8 left; /* scratch: places of local addresses that are gone and that the peer knows by subflows alone */
	pm_u8 reserved[5];
	pm_u64 missing; /* scratch: address pairs that lack subflows, bit local * 8 + remote */
	struct pm_plan plan; /* scratch */
	struct pm_pairs have; /* scratch: subflows that exist or are under way */
	struct pm_command command[PM_MAX_COMMANDS];
};
PM_STATIC_ASSERT(PM_MAX_COMMANDS >= PM_MAX_SUBFLOWS + PM_MAX_LOCALS, "a command for each place");
PM_STATIC_ASSERT(sizeof(struct pm_result) == 48 + 72 + 64 + 128 * 48, "shared with BPF");

#endif
