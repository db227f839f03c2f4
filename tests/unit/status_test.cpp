// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The three forms of a status, each with every figure where it belongs.
#include "pm-netlink/status.hpp"

#include <cerrno>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace pm;
using namespace pm::netlink;
using nlohmann::json;

namespace {

// A status whose figures all differ, so that none can be taken for another.
service_status sample()
{
	service_status s;
	s.policy = "ndiffports";
	s.settings = {{"subflows", 4}};
	s.uptime_ns = 3'725'000'000'001;
	s.pid = 1234;
	s.connections = 101;
	s.most_connections = 65536;
	s.subflows = 102;
	s.subflows_opening = 103;
	s.subflows_closing = 104;
	s.local_addresses = {"10.0.1.1", "fd00::1"};
	s.events.delivered = 201;
	s.events.lost = 202;
	s.events.foreign_sender = 203;
	for (std::size_t i = 0; i < refusal_count; ++i)
		s.events.refused[i] = 210 + i;
	s.events.buffer_bytes = 204;
	s.events.buffer_used = 205;
	s.handled.events = 301;
	s.handled.unknown = 302;
	s.handled.ignored = 303;
	s.handled.table_full = 304;
	s.handled.full_locals = 305;
	s.handled.full_remotes = 306;
	s.handled.full_subflows = 307;
	s.handled.exhausted = 308;
	s.address_overruns = 401;
	s.resyncs.done = 501;
	s.resyncs.failed = 502;
	s.resyncs.postponed = 503;
	s.resyncs.running = true;
	s.resyncs.last_ns = 12'345'678;
	s.resyncs.adopted = 505;
	s.resyncs.dropped = 506;
	s.resyncs.lost_while_running = 507;
	s.announcements.heard = 601;
	s.announcements.missed = 602;
	s.announcements.recovered = 603;
	s.announcements.unrecovered = 604;
	s.commands.sent = 701;
	s.commands.accepted = 702;
	s.commands.unanswered = 703;
	s.commands.refused[ESRCH] = {704, "subflow not found"};
	s.commands.refused[EINVAL] = {705, "the \"token\" is\\\ninvalid"};
	s.commands_queued = 706;
	s.holds = 801;
	s.retries = 802;
	s.retries_waiting = 803;
	return s;
}

// ---- JSON ----

TEST(status_json, has_every_field)
{
	const std::map<std::string, json> table = {
		{"/policy", "ndiffports"},
		{"/settings/subflows", 4},
		{"/pid", 1234},
		{"/uptime_ns", 3'725'000'000'001},
		{"/connections/open", 101},
		{"/connections/most", 65536},
		{"/subflows/established", 102},
		{"/subflows/opening", 103},
		{"/subflows/closing", 104},
		{"/local_addresses/0", "10.0.1.1"},
		{"/local_addresses/1", "fd00::1"},
		{"/events/delivered", 201},
		{"/events/lost", 202},
		{"/events/foreign_sender", 203},
		{"/events/buffer_bytes", 204},
		{"/events/buffer_used", 205},
		{"/handled/events", 301},
		{"/handled/unknown_connection", 302},
		{"/handled/ignored", 303},
		{"/handled/table_full", 304},
		{"/handled/full_locals", 305},
		{"/handled/full_remotes", 306},
		{"/handled/full_subflows", 307},
		{"/handled/exhausted", 308},
		{"/address_overruns", 401},
		{"/resyncs/done", 501},
		{"/resyncs/failed", 502},
		{"/resyncs/postponed", 503},
		{"/resyncs/running", true},
		{"/resyncs/last_ns", 12'345'678},
		{"/resyncs/adopted", 505},
		{"/resyncs/dropped", 506},
		{"/resyncs/lost_while_running", 507},
		{"/announcements/heard", 601},
		{"/announcements/missed", 602},
		{"/announcements/recovered", 603},
		{"/announcements/unrecovered_connections", 604},
		{"/commands/sent", 701},
		{"/commands/accepted", 702},
		{"/commands/unanswered", 703},
		{"/commands/queued", 706},
		{"/commands/refused/0/errno", ESRCH},
		{"/commands/refused/0/error", "No such process"},
		{"/commands/refused/0/kernel_said", "subflow not found"},
		{"/commands/refused/0/count", 704},
		{"/commands/refused/1/errno", EINVAL},
		{"/commands/refused/1/error", "Invalid argument"},
		{"/commands/refused/1/kernel_said", "the \"token\" is\\\ninvalid"},
		{"/commands/refused/1/count", 705},
		{"/holds", 801},
		{"/retries/done", 802},
		{"/retries/waiting", 803},
	};
	const json status = to_json(sample());
	for (const auto &[where, value] : table) {
		ASSERT_TRUE(status.contains(json::json_pointer{where})) << where;
		EXPECT_EQ(status.at(json::json_pointer{where}), value) << where;
	}
	std::map<std::string, json> flat = status.flatten();
	for (std::size_t i = 0; i < refusal_count; ++i) {
		const auto name = "/events/malformed/" + std::string{to_string(static_cast<refusal>(i))};
		EXPECT_EQ(flat[name], 210 + i);
		flat.erase(name);
	}
	for (const auto &[where, value] : table)
		flat.erase(where);
	EXPECT_TRUE(flat.empty()) << "also there: " << json(flat);
}

TEST(status_json, of_nothing_yet_has_the_same_fields)
{
	json nothing = to_json({}), something = to_json(sample());
	for (json *each : {&nothing, &something})
		(*each)["settings"] = (*each)["commands"]["refused"] = (*each)["local_addresses"] = nullptr;
	const auto names = [](const json &status) {
		std::set<std::string> all;
		const json flat = status.flatten();
		for (const auto &[name, value] : flat.items())
			all.insert(name);
		return all;
	};
	EXPECT_EQ(names(nothing), names(something));
}

// ---- text ----

bool says(const std::string &text, const std::string &words) { return text.find(words) != std::string::npos; }

TEST(status_text, has_the_figures_with_their_words)
{
	const std::string text = to_text(to_json(sample()));
	for (const char *words : {
		     "ndiffports subflows=4, for 1 h 2 min (process 1234)",
		     "101 open, room for 65536; subflows: 102 established, 103 opening, 104 closing",
		     "10.0.1.1, fd00::1\n",
		     "201 delivered, 202 lost, 203 from a foreign sender, 1060 malformed; buffer 205 of 204 bytes used",
		     "301 events, 302 about unknown connections, 304 with no room for the connection",
		     "305 local addresses, 306 remote addresses, 307 subflows",
		     "501 done (and one running), 502 failed; 505 connections adopted, 506 dropped; the latest took "
		     "12.3 ms",
		     "601 heard, 602 missed, 603 recovered; 604 connections may lack one",
		     "701 sent, 702 accepted, 1409 refused, 703 unanswered, 706 queued",
		     "704 times: No such process (subflow not found)\n",
		     "705 times: Invalid argument (",
		     "801 holds of a busy connection, 802 retries after failures, 803 connections waiting\n",
	     })
		EXPECT_TRUE(says(text, words)) << words << "\nis not in:\n" << text;
	EXPECT_EQ(text.back(), '\n');
}

TEST(status_text, says_how_long_it_runs_in_the_unit_that_fits)
{
	const std::pair<std::uint64_t, const char *> table[] = {
		{0, "for 0.0 s"},
		{1'260'000'000, "for 1.3 s"},
		{60'000'000'000, "for 1 min 0 s"},
		{3'599'000'000'000, "for 59 min 59 s"},
		{90'000'000'000'000, "for 25 h 0 min"},
	};
	for (const auto &[ns, words] : table) {
		service_status s;
		s.uptime_ns = ns;
		EXPECT_TRUE(says(to_text(to_json(s)), words)) << words;
	}
}

TEST(status_text, says_nothing_of_refusals_that_were_not_and_of_words_that_the_kernel_had_not)
{
	service_status s;
	EXPECT_FALSE(says(to_text(to_json(s)), "times"));
	s.commands.refused[EPERM].count = 1;
	EXPECT_TRUE(says(to_text(to_json(s)), "1 times: Operation not permitted\n"));
}

TEST(status_text, of_another_version_is_an_exception_and_no_nonsense)
{
	for (const char *lacking : {"policy", "settings", "events", "commands", "retries"}) {
		json status = to_json(sample());
		status.erase(lacking);
		EXPECT_THROW((void)to_text(status), json::exception) << lacking;
		status = to_json(sample());
		status[lacking] = "something else";
		if (lacking != std::string{"policy"}) {
			EXPECT_THROW((void)to_text(status), json::exception) << lacking;
		}
	}
}

// ---- OpenMetrics ----

// Reads the text format as its grammar has it, and finds what is wrong.
struct openmetrics {
	explicit openmetrics(const std::string &text)
	{
		static const std::regex type{"# TYPE ([a-z_][a-z0-9_]*) (counter|gauge)"};
		static const std::regex help{"# HELP ([a-z_][a-z0-9_]*) ([^\\\\\"]+\\.)"};
		static const std::regex line{
			"([a-z_][a-z0-9_]*)(\\{[a-z_]+=\"(?:[^\"\\\\\n]|\\\\[\"\\\\n])*\"\\})? ([0-9]+)"};
		EXPECT_TRUE(text.ends_with("\n# EOF\n"));
		std::istringstream all{text.substr(0, text.size() - 6)};
		std::string current;
		for (std::string each; std::getline(all, each);) {
			std::smatch match;
			if (std::regex_match(each, match, type)) {
				current = match[1];
				EXPECT_TRUE(types.emplace(current, match[2]).second) << "twice: " << each;
			} else if (std::regex_match(each, match, help)) {
				EXPECT_EQ(match[1], current);
				EXPECT_TRUE(helps.insert(current).second) << "twice: " << each;
			} else if (std::regex_match(each, match, line)) {
				const bool counter = types[current] == "counter";
				EXPECT_EQ(match[1], current + (counter ? "_total" : "")) << each;
				EXPECT_TRUE(
					samples.emplace(match[1].str() + match[2].str(), std::stoull(match[3])).second)
					<< "twice: " << each;
			} else {
				ADD_FAILURE() << "no line of OpenMetrics: " << each;
			}
		}
		for (const auto &[name, its] : types)
			EXPECT_TRUE(helps.count(name)) << name;
	}

	std::map<std::string, std::string> types;
	std::set<std::string> helps;
	std::map<std::string, std::uint64_t> samples; // by name and labels
};

TEST(status_openmetrics, is_valid_and_has_the_figures)
{
	const openmetrics read{to_openmetrics(to_json(sample()))};
	std::map<std::string, std::uint64_t> wanted = {
		{"pathlab_connections", 101},
		{"pathlab_subflows{state=\"established\"}", 102},
		{"pathlab_subflows{state=\"opening\"}", 103},
		{"pathlab_subflows{state=\"closing\"}", 104},
		{"pathlab_events_total", 201},
		{"pathlab_events_lost_total", 202},
		{"pathlab_events_foreign_total", 203},
		{"pathlab_event_buffer_bytes", 204},
		{"pathlab_event_buffer_used_bytes", 205},
		{"pathlab_table_full_total", 304},
		{"pathlab_no_room_total{for=\"local_address\"}", 305},
		{"pathlab_no_room_total{for=\"remote_address\"}", 306},
		{"pathlab_no_room_total{for=\"subflow\"}", 307},
		{"pathlab_resyncs_total", 501},
		{"pathlab_resyncs_failed_total", 502},
		{"pathlab_announcements_heard_total", 601},
		{"pathlab_announcements_missed", 602},
		{"pathlab_announcements_recovered_total", 603},
		{"pathlab_connections_unrecovered", 604},
		{"pathlab_commands_total", 701},
		{"pathlab_commands_unanswered_total", 703},
		{"pathlab_commands_refused_total{error=\"No such process\"}", 704},
		{"pathlab_commands_refused_total{error=\"Invalid argument\"}", 705},
		{"pathlab_commands_queued", 706},
		{"pathlab_holds_total", 801},
		{"pathlab_retries_total", 802},
		{"pathlab_retries_waiting", 803},
	};
	for (std::size_t i = 0; i < refusal_count; ++i)
		wanted["pathlab_events_malformed_total{reason=\"" + std::string{to_string(static_cast<refusal>(i))} +
		       "\"}"] = 210 + i;
	EXPECT_EQ(read.samples, wanted);
}

TEST(status_openmetrics, is_valid_before_anything_has_happened)
{
	const openmetrics nothing{to_openmetrics(to_json({}))}, something{to_openmetrics(to_json(sample()))};
	EXPECT_EQ(nothing.types, something.types);
	for (const auto &[name, value] : nothing.samples)
		EXPECT_EQ(value, 0u) << name;
}

// A status comes from another process: whatever stands where a label's value is taken from, the lines stay whole.
TEST(status_openmetrics, escapes_what_labels_cannot_hold)
{
	json status = to_json(sample());
	status["commands"]["refused"][0]["error"] = "a \"quoted\\word\"\nand a line";
	const openmetrics read{to_openmetrics(status)};
	std::size_t found = 0;
	for (const auto &[name, value] : read.samples)
		found += value == 704 && says(name, "a \\\"quoted\\\\word\\\"");
	EXPECT_EQ(found, 1u);
}

TEST(status_openmetrics, uses_names_that_do_not_run_into_each_other)
{
	const openmetrics read{to_openmetrics(to_json(sample()))};
	for (const auto &[name, type] : read.types) {
		EXPECT_TRUE(name.starts_with("pathlab_")) << name;
		// A counter X has the samples X_total and X_created: no other metric may be called so.
		for (const char *suffix : {"_total", "_created", "_info", "_sum", "_count", "_bucket"})
			EXPECT_FALSE(name.ends_with(suffix)) << name;
	}
}

} // namespace
