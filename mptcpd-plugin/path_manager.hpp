// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy inside mptcpd, in one of two ways.
//
// As a plugin should: mptcpd's callbacks become events, the policy decides (pm-netlink/manager.hpp), what results goes out by
// mptcpd's functions. That loses nothing as long as mptcpd hears everything, which it does not:
//
// - Once its socket has overrun, ELL reads it no more, so mptcpd hears nothing again, and its commands get no answer.
// - Of a connection whose CREATED it has not heard it passes nothing on: all those that are older than itself.
//
// In both cases we take over: a service of our own (pm-netlink/service.hpp) in the same main loop reads the events, sends the
// commands and reads the state back from the kernel; mptcpd's callbacks are not listened to any more.
//
// Not by mptcpd's means, in either way:
//
// - Local addresses. mptcpd's network monitor forgets an interface's addresses when its link goes down and does not find
//   them again, takes the peer's address of a point-to-point link for the local one, and lists tentative and deprecated
//   ones; our address_source does not. So mptcpd's setting notify-flags does not matter here.
// - Address ids. The engine gives each local address of a connection an id of that connection (RFC 8684, 3.4.1), so that the
//   same events cause the same commands wherever a policy runs, and an id is never given to a second address while a peer
//   may know the first by it. mptcpd's id manager keeps one list for all connections, for the endpoints of the kernel's own
//   path manager; it has 255 ids for the life of the process, and giving one back would let it name another address in
//   connections that still use it. Nobody else gives ids in our connections: mptcpd asks one plugin only.
// - Announcing and withdrawing an address: mptcpd_pm_add_addr() opens a listening socket too, on a port that is then
//   announced with the address, and mptcpd_pm_remove_addr() keeps a pointer to a variable of a function that has returned
//   (0.12 to 0.14), which may crash mptcpd when the kernel answers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mptcpd-plugin/daemon_socket.hpp"
#include "mptcpd-plugin/ell.hpp"
#include "mptcpd-plugin/unanswered.hpp"
#include "pm-netlink/address_source.hpp"
#include "pm-netlink/commander.hpp"
#include "pm-netlink/manager.hpp"
#include "pm-netlink/pacing.hpp"
#include "pm-netlink/service.hpp"
#include "pm-netlink/settings_file.hpp"
#include "pm-netlink/status_socket.hpp"

struct mptcpd_pm;

namespace pm::plugin {

class path_manager {
public:
	// Reads the settings of policy `name`, and does nothing else yet.
	[[nodiscard]] static expected<std::unique_ptr<path_manager>> create(std::string_view name, mptcpd_pm *pm);
	path_manager(const path_manager &) = delete;
	path_manager &operator=(const path_manager &) = delete;

	void start(); // once mptcpd is subscribed to the events
	void handle(const pm_event &event); // from mptcpd

private:
	// What there is while we run as a plugin should.
	struct plugged {
		plugged(const policy_info &policy, const pm_settings &settings, std::size_t most_connections,
			daemon_socket events, netlink::commander commands, netlink::address_source locals);

		manager connections;
		netlink::pacer pacer{connections};
		daemon_socket events; // mptcpd's
		netlink::commander commands;
		netlink::address_source locals;
		std::optional<watch> locals_watch;
		unanswered waiting;
		std::vector<pm_event> refused; // commands, not told to the engine yet
	};

	path_manager(const policy_info &policy, netlink::manager_settings settings, const pm_settings &values,
		     mptcpd_pm *pm)
		: policy_(policy), settings_(std::move(settings)), values_(values), pm_(pm)
	{
	}

	[[nodiscard]] expected<void> plug_in();
	void look_around();
	void settle(); // what came back of commands, until nothing does
	void decide(const pm_event &event);
	void carry_out(const pm_command &command);
	void list_locals();
	void look_for_refusals();
	void take_over(const std::string &why);
	void serve();
	void open_status();
	void say_once(bool &said, const std::string &text) const;

	const policy_info &policy_;
	netlink::manager_settings settings_;
	pm_settings values_; // of the policy, to begin with
	mptcpd_pm *pm_;
	std::unique_ptr<plugged> plugged_;
	std::unique_ptr<netlink::service> service_;
	std::optional<watch> service_watch_;
	std::optional<netlink::status_socket> status_; // if there is a folder for it
	std::optional<watch> status_watch_;
	std::optional<timer> timer_;
	bool service_broken_ = false;
	std::uint64_t look_again_at_ = 0; // for refused commands, at the earliest
	std::uint64_t retry_at_ = 0; // when a service that could not be started, or broke, is tried again
	std::string reason_; // for taking over
	bool said_no_service_ = false, said_no_locals_ = false, said_no_snapshot_ = false, said_no_announcing_ = false;
};

} // namespace pm::plugin
