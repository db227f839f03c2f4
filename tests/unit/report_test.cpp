// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// From results to words: what is in the results is in the report, and nothing else.
#include <algorithm>

#include <gtest/gtest.h>

#include "replay/stress.hpp"
#include "report/html.hpp"
#include "report/markdown.hpp"
#include "report/report.hpp"
#include "tests/support/made_results.hpp"
#include "tests/support/read_results.hpp"

namespace pm::report {

namespace {

using test::find;
using test::has;
using test::read;
using test::rows_of;

// Three runs that lost 123, 456 and 789 of their 8,000 events, and one of another backend that lost none.
json with_known_loss()
{
	json data = test::made_results({.stress = false});
	for (const auto &[repetition, lost] : {std::pair{1u, 123u}, {2u, 789u}, {3u, 456u}}) {
		data["stress"].push_back(test::made_run("steady", "netlink", "host", 2000, repetition, lost));
		data["stress"].push_back(test::made_run("steady", "ringbuf", "host", 2000, repetition, 0));
	}
	return data;
}

TEST(report, has_exactly_the_loss_that_is_in_the_results)
{
	const results all = read(with_known_loss());
	const auto points = points_of(all);
	for (const point &each : points)
		if (each.of == part::stress && each.backend == "netlink") {
			EXPECT_DOUBLE_EQ(each.figure("lost_share").median, 456.0 / 8000);
			EXPECT_DOUBLE_EQ(each.figure("lost_share").least, 123.0 / 8000);
			EXPECT_DOUBLE_EQ(each.figure("lost_share").most, 789.0 / 8000);
		}
	const document written = make_document({all});
	const section *loss = find(written, "loss");
	ASSERT_TRUE(loss && loss->tables.size() == 1);
	ASSERT_EQ(rows_of(loss->tables[0], "netlink").size(), 1u);
	EXPECT_TRUE(has(rows_of(loss->tables[0], "netlink")[0], "|5.7 % (1.5 %..9.9 %)|"))
		<< rows_of(loss->tables[0], "netlink")[0];
	EXPECT_TRUE(has(rows_of(loss->tables[0], "ringbuf")[0], "|2,000/s|0 %|"));
	for (const std::string &page : {to_html(written), to_markdown(written)})
		EXPECT_TRUE(has(page, "5.7 % (1.5 %..9.9 %)"));
	EXPECT_TRUE(
		has(written.answer[0], "ringbuf (up to 2,000/s) lost none in any run, netlink lost 9.9 % at worst (steady at 2,000/s)"))
		<< written.answer[0];
	const section *raw = find(written, "raw");
	ASSERT_TRUE(raw);
	std::size_t found = 0;
	for (const auto &row : raw->tables.at(0).rows)
		found += row[1] == "netlink" && (row[7] == "123" || row[7] == "456" || row[7] == "789");
	EXPECT_EQ(found, 3u);
}

// From the run on, through everything that is between it and the page.
TEST(report, has_the_loss_of_a_run_as_it_was_counted)
{
	replay::stress_run run;
	run.plan.scenario = "steady";
	run.plan.load.rate = 2000;
	run.backend = "netlink";
	run.policy = "fullmesh";
	run.load.asked = run.load.made = 2000;
	run.events = replay::event_account{.emitted = 8317, .delivered = 7654, .acted_on = 7613, .lost = {}};
	for (const char *stage : replay::loss_stages)
		run.events->lost[stage] = 0;
	run.events->lost["socket"] = 610;
	run.events->lost["table"] = 53;
	run.commands = replay::commands_told{.sent = 1999, .accepted = 1990, .refused = 9};
	run.paths.expected = 2000;
	run.paths.missing = 11;
	run.came_up_client = 1990;
	run.came_up_server = 1989;
	replay::stress_results measured;
	measured.runs = {run};
	measured.complete = true;
	const document all = make_document({read(measured.to_json("pathlab stress"))});
	const table &events = find(all, "events")->tables.at(0);
	const std::vector<std::string> head{"load", "backend", "emitted", "delivered", "lost: socket", "lost: table",
					    "acted on", "commands", "accepted", "refused by the kernel",
					    "paths expected", "up at the client", "at the server",
					    "missing at the end", "runs"};
	EXPECT_EQ(events.head, head);
	const std::vector<std::string> row{"steady, 2,000/s", "netlink", "8,317", "7,654", "610", "53", "7,613", "1,999",
					   "1,990", "9", "2,000", "1,990", "1,989", "11", "1"};
	EXPECT_EQ(events.rows.at(0), row);
	std::string html = "<tr>", markdown = "|";
	for (std::size_t i = 0; i < row.size(); ++i) {
		html += std::string{"<td class=\""} + (i < 2 ? "left" : "") + "\">" + row[i] + "</td>";
		markdown += ' ' + row[i] + " |";
	}
	EXPECT_TRUE(has(to_html(all), html + "</tr>"));
	EXPECT_TRUE(has(to_markdown(all), markdown + '\n'));
	EXPECT_TRUE(has(all.answer[0], "netlink lost 8.0 % at worst (steady at 2,000/s)")) << all.answer[0];
}

TEST(report, adds_up_the_events_of_all_runs_that_count)
{
	json data = with_known_loss();
	data["stress"].push_back(test::made_run("steady", "netlink", "host", 2000, 4, 8000));
	data["stress"].back()["excluded"] = "the clock jumped by 3 s";
	const table events = find(make_document({read(data)}), "events")->tables.at(0);
	const std::size_t emitted = 2, delivered = 3, lost = 4;
	EXPECT_EQ(events.head.at(lost), "lost: socket");
	EXPECT_EQ(events.head.at(lost + 1), "acted on") << "no other stage lost anything";
	EXPECT_EQ(events.rows.at(0).at(emitted), "24,000");
	EXPECT_EQ(events.rows.at(0).at(delivered), "22,632");
	EXPECT_EQ(events.rows.at(0).at(lost), "1,368");
}

TEST(report, excluded_runs_are_in_no_figure_and_are_listed_with_their_reason)
{
	json data = with_known_loss();
	json broken = test::made_run("steady", "netlink", "host", 2000, 4, 8000);
	broken["excluded"] = "the clock jumped by 3 s";
	data["stress"].push_back(broken);
	json wrong_sum = test::made_run("steady", "netlink", "host", 2000, 5, 10);
	wrong_sum["events"]["delivered"] = 1;
	data["stress"].push_back(wrong_sum);
	const results all = read(data);
	const document written = make_document({all});
	EXPECT_TRUE(has(rows_of(find(written, "loss")->tables[0], "netlink")[0], "|5.7 % (1.5 %..9.9 %)|"));
	EXPECT_TRUE(has(rows_of(find(written, "loss")->tables[0], "netlink")[0], "|3 (2 excluded)|"));
	const std::string page = to_markdown(written);
	EXPECT_TRUE(has(page, "the clock jumped by 3 s"));
	EXPECT_TRUE(has(page, "its sum does not close: 8000 events emitted, 11 delivered or lost"));
	ASSERT_EQ(written.warnings.size(), 1u);
	EXPECT_TRUE(has(written.warnings[0], "2 of "));
}

TEST(report, a_backend_that_could_not_run_is_listed_with_its_reason)
{
	const document written = make_document({read(with_known_loss())});
	const section *left = find(written, "left-out");
	ASSERT_TRUE(left && left->tables.size() == 1);
	EXPECT_EQ(left->tables[0].rows[0],
		  (std::vector<std::string>{"bpf", "on the host", "this kernel's mptcp_pm_ops has no BPF callbacks"}));
	EXPECT_TRUE(has(written.answer[2], "this kernel's mptcp_pm_ops has no BPF callbacks")) << written.answer[2];
}

TEST(report, backends_that_could_not_run_for_one_reason_are_listed_together)
{
	json data = with_known_loss();
	data["left_out"] = json::array();
	for (const char *backend : {"mptcpd", "mptcpd-stock"})
		for (const char *place : {"host", "vm"})
			data["left_out"].push_back(
				{{"backend", backend}, {"place", place}, {"part", "replays"}, {"reason", "none"}});
	const document written = make_document({read(data)});
	using row = std::vector<std::string>;
	EXPECT_EQ(find(written, "left-out")->tables.at(0).rows,
		  (std::vector<row>{{"mptcpd, mptcpd-stock", "on the host", "replays: none"},
				    {"mptcpd, mptcpd-stock", "in the virtual machine", "replays: none"}}));
}

TEST(report, a_picture_without_data_is_left_out_with_its_reason)
{
	const document written = make_document({read(with_known_loss())});
	for (const char *id : {"latency", "overrun", "buffer"}) {
		const section *one = find(written, id);
		ASSERT_TRUE(one && one->pictures.size() == 1) << id;
		EXPECT_EQ(one->pictures[0].wide, "") << id;
		EXPECT_TRUE(has(one->pictures[0].left_out, "there is no run of the scenario")) << id;
		EXPECT_TRUE(has(to_html(written), one->pictures[0].left_out)) << id;
	}
}

TEST(report, an_incomplete_comparison_says_so)
{
	json data = with_known_loss();
	data["complete"] = false;
	EXPECT_TRUE(has(make_document({read(data)}).warnings.at(0), "was interrupted"));
	data["failure"] = "no space left";
	EXPECT_TRUE(has(make_document({read(data)}).warnings.at(0), "no space left"));
	EXPECT_TRUE(has(make_document({read(data)}).warnings.at(0), "--resume"));
	data["command"] = "pathlab stress --through netlink";
	EXPECT_FALSE(has(make_document({read(data)}).warnings.at(0), "--resume"));
}

// Of a connection, none costs 100 us and 400 are made in a second; netlink's process needs 30 us of its 150.
TEST(report, holds_rate_and_cost_against_none)
{
	json data = test::made_results({.replay = false, .stress = false});
	const auto add = [&](const char *backend, const char *place, double rate, json own, double machine) {
		data["stress"].push_back(test::made_run("steady", backend, place, 1e6, 1, 0));
		data["stress"].back()["rate"]["made_per_s"] = rate;
		data["stress"].back()["cpu_ns_per_connection"] = {{"path_manager", own}, {"machine", machine}};
	};
	add("none", "vm", 400, nullptr, 100e3);
	add("netlink", "vm", 300, 30e3, 150e3);
	add("bpf", "vm", 404, nullptr, 98e3);
	add("netlink", "host", 300, 30e3, 150e3);
	const results all = read(data);
	const auto points = points_of(all);
	EXPECT_EQ(points[0].in_words("rate_share"), "100 %");
	EXPECT_EQ(points[0].in_words("cpu_kernel"), "-");
	EXPECT_EQ(points[1].in_words("rate_share"), "75 %");
	EXPECT_EQ(points[1].in_words("cpu_kernel"), "20.0 us");
	EXPECT_EQ(points[2].in_words("rate_share"), "101.0 %");
	EXPECT_EQ(points[2].in_words("cpu_kernel"), "-2.0 us");
	EXPECT_EQ(points[3].in_words("cpu_kernel"), "-") << "none was not measured there";
	for (const changed_figure &each : compare_results(all, all).figures)
		EXPECT_FALSE(each.what->derived) << "what it is derived from is compared";
	const table cost = find(make_document({all}), "cost")->tables.at(0);
	EXPECT_NE(std::find(cost.head.begin(), cost.head.end(), "CPU/connection, kernel beyond none"), cost.head.end());
}

TEST(report, says_what_counting_costs_and_how_far_that_scatters)
{
	const std::pair<const char *, const char *> table[] = {
		{"null", "was not measured on the host in this run (pathlab stress --probe-cost N does)"},
		{R"({"rate_with": 9800, "rate_without": 9900, "cost_share": 0.01, "repetitions": 3})",
		 "costs 1.0 % of the rate of new connections on the host (its spread was not recorded): 9,800/s with it, "
		 "9,900/s without, 3 times each."},
		{R"({"rate_with": 9910, "rate_without": 9900, "cost_share": -0.015, "backend": "netlink"})",
		 "costs -1.5 % of the rate"},
		{R"({"rate_with": 9800, "rate_without": 9900, "repetitions": 5, "backend": "netlink",
		     "ratio": {"median": 0.98, "min": 0.96, "max": 1.02}})",
		 "costs 2.0 % of the rate of new connections on the host (-2.0 % to 4.0 %): 9,800/s with it, 9,900/s "
		 "without, 5 times each, through netlink."},
		{R"({"rate_with": 9800, "rate_without": 9900, "repetitions": 40, "backend": "netlink",
		     "ratio": {"median": 0.98, "low": 0.97, "high": 0.99, "min": 0.9, "max": 1.1}})",
		 "costs 2.0 % of the rate of new connections on the host (1.0 % to 3.0 % with 95 % confidence): "},
	};
	for (const auto &[probes, words] : table) {
		json data = test::made_results({.replay = false, .stress = false});
		data["probes"] = json::parse(probes);
		EXPECT_TRUE(has(to_markdown(make_document({read(data)})), words)) << probes;
		data["virtual_machine"] = {{"machine", data["machine"]}, {"probes", json::parse(probes)}};
		std::string there = words;
		if (const auto at = there.find("on the host"); at != std::string::npos)
			there.replace(at, 11, "in the virtual machine");
		EXPECT_TRUE(has(to_markdown(make_document({read(data)})), there)) << probes;
	}
}

// ---- second paths ----

// 1,000 connections, of which so many lacked a path at the end; of each that had it, it began after 1 to 100 ms.
json with_second_paths(unsigned lacking)
{
	json data = test::made_results({.replay = false, .stress = false});
	json run = test::made_run("steady", "netlink", "host", 1e6, 1, 0);
	run["connections"]["made"] = 1000;
	run["missing"]["at_end"] = lacking;
	json buckets = json::array();
	for (int ms = 1; lacking < 1000 && ms <= 100; ++ms)
		buckets.push_back({ms * 1000000, 5});
	const unsigned n = lacking < 1000 ? 500 : 0;
	run["join_latency_ns"] = {{"n", n},
				  {"p50", n ? 50000000 : 0},
				  {"p90", n ? 90000000 : 0},
				  {"p99", n ? 99000000 : 0},
				  {"max", n ? 99700000 : 0},
				  {"histogram", buckets}};
	data["stress"].push_back(run);
	return data;
}

TEST(second_paths, that_never_came_are_later_than_all_others)
{
	const std::pair<unsigned, const char *> table[] = {
		{0, "netlink|50.0 ms|90.0 ms|99.0 ms|99.7 ms|99.7 ms|1,000 of 1,000|500|1|"},
		{20, "netlink|52.0 ms|92.0 ms|never|never|99.7 ms|980 of 1,000|500|1|"},
		{600, "netlink|never|never|never|never|99.7 ms|400 of 1,000|500|1|"},
		{1000, "netlink|never|never|never|never|-|0 of 1,000|0|1|"},
	};
	for (const auto &[lacking, row] : table) {
		const results all = read(with_second_paths(lacking));
		const document written = make_document({all});
		EXPECT_EQ(rows_of(find(written, "latency")->tables.at(0), "netlink").at(0), row);
		const point one = points_of(all).at(0);
		EXPECT_EQ(in_words(unit::duration, one.figure("join_p99")), lacking ? "never" : "99.0 ms");
		const picture &drawn = find(written, "latency")->pictures.at(0);
		EXPECT_EQ(drawn.what.curves.size(), lacking < 1000) << "what never came has no curve";
		// 1 / (1 - share): to where the others never came, or to the last of those that were captured.
		if (lacking < 1000) {
			EXPECT_DOUBLE_EQ(drawn.what.curves[0].rows.back()[0], lacking ? 1000.0 / lacking : 500);
		}
	}
}

// ---- pages ----

TEST(html, escapes_what_results_say)
{
	json data = with_known_loss();
	data["left_out"][0]["reason"] = "</script><b>&\"";
	const std::string page = to_html(make_document({read(data)}));
	EXPECT_FALSE(has(page, "<b>"));
	EXPECT_TRUE(has(page, "&lt;/script&gt;&lt;b&gt;&amp;&quot;"));
	EXPECT_EQ(page.find("</script>"), page.rfind("</script>")) << "only the end of the raw data";
}

TEST(html, has_every_result_in_it)
{
	const json data = with_known_loss();
	const std::string page = to_html(make_document({read(data)}));
	const std::string begin = "id=\"results\">";
	const auto from = page.find(begin) + begin.size();
	EXPECT_EQ(json::parse(page.substr(from, page.find("</script>", from) - from)), data);
}

} // namespace

} // namespace pm::report
