// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// From results to words: what is in the results is in the report, and nothing else.
#include <algorithm>

#include <gtest/gtest.h>

#include "report/answer.hpp"
#include "report/html.hpp"
#include "report/markdown.hpp"
#include "report/report.hpp"
#include "tests/support/made_results.hpp"

namespace pm::report {

namespace {

results read(json data)
{
	auto checked = check_results("made", std::move(data));
	EXPECT_TRUE(checked) << (checked ? "" : checked.error().text);
	return checked ? *checked : results{};
}

bool has(const std::string &text, const std::string &what) { return text.find(what) != std::string::npos; }

const section *find(const document &all, const std::string &id)
{
	for (const section &each : all.sections)
		if (each.id == id)
			return &each;
	return nullptr;
}

// The cells of all rows that begin with this backend; where only the first row of a backend names it, of all its rows.
std::vector<std::string> rows_of(const table &in, const std::string &backend)
{
	std::vector<std::string> found;
	std::string current;
	for (const auto &row : in.rows) {
		current = row.front().empty() ? current : row.front();
		std::string all;
		for (const std::string &cell : row)
			all += cell + '|';
		if (current == backend)
			found.push_back(all);
	}
	return found;
}

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
		has(written.answer[0], "ringbuf lost none in any run, netlink lost 9.9 % at worst (steady at 2,000/s)"))
		<< written.answer[0];
	const section *raw = find(written, "raw");
	ASSERT_TRUE(raw);
	std::size_t found = 0;
	for (const auto &row : raw->tables.at(0).rows)
		found += row[1] == "netlink" && (row[7] == "123" || row[7] == "456" || row[7] == "789");
	EXPECT_EQ(found, 3u);
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
}

// ---- the answer ----

std::vector<std::string> answer_to(const json &data)
{
	const results all = read(data);
	const auto sentences = answer(all, points_of(all));
	EXPECT_EQ(sentences.size(), 3u);
	for (const std::string &each : sentences) {
		EXPECT_EQ(each.back(), '.') << each;
		EXPECT_FALSE(has(each, "nan") || has(each, "inf ") || has(each, "()")) << each;
	}
	return sentences;
}

TEST(answer, says_that_netlink_is_good_enough_where_it_is)
{
	const auto said = answer_to(test::made_results());
	EXPECT_TRUE(has(said[0], "netlink, ringbuf and bpf lost none in any run")) << said[0];
	EXPECT_TRUE(has(said[2], "netlink is good enough for all that was tried, up to 800/s")) << said[2];
}

TEST(answer, says_that_the_kernel_is_worth_it_where_only_netlink_loses)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "netlink" && run["place"] == "vm" &&
		    run["load"]["rate"] == 800) {
			run["events"]["lost"]["socket"] = 80;
			run["events"]["delivered"] = 7920;
		}
	const auto said = answer_to(data);
	EXPECT_TRUE(
		has(said[2], "netlink lost up to 1.0 % of the events where bpf did not: there the kernel is worth it"))
		<< said[2];
}

TEST(answer, takes_nothing_from_excluded_runs)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["backend"] == "netlink" && run["scenario"] != "overrun")
			run["excluded"] = "the load generator could not keep its rate";
	const auto said = answer_to(data);
	EXPECT_FALSE(has(said[0].substr(0, said[0].find(';')), "netlink")) << said[0];
	EXPECT_TRUE(has(said[2], "netlink was not measured there (there is no run of it that counts)")) << said[2];
}

TEST(answer, says_when_the_kernel_was_the_worse_one)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "bpf")
			run["missing"]["at_end"] = 20;
	const auto said = answer_to(data);
	EXPECT_TRUE(has(said[2], "while bpf left up to 1.0 % of the connections without a path")) << said[2];
}

TEST(answer, says_what_was_not_measured)
{
	const auto nothing = answer_to(test::made_results({.replay = false, .stress = false}));
	for (const std::string &each : nothing)
		EXPECT_TRUE(has(each, "not measured")) << each;
	const auto replayed = answer_to(test::made_results({.stress = false}));
	EXPECT_TRUE(has(replayed[0], "Of the replayed events")) << replayed[0];
	EXPECT_TRUE(has(replayed[0], "with real connections it was not measured")) << replayed[0];
	EXPECT_TRUE(has(replayed[2], "not measured")) << replayed[2];
}

// ---- changes ----

TEST(changes, finds_what_got_slower_and_nothing_else)
{
	const results before = read(test::made_results({.seed = 1})),
		      after = read(test::made_results({.seed = 2, .slower = 1.4}));
	const auto found = compare_results(before, after);
	EXPECT_GT(found.figures.size(), 500u);
	EXPECT_EQ(found.better(), 0u);
	EXPECT_GT(found.worse(), 20u);
	for (const changed_figure &each : found.figures)
		if (each.by.beyond_noise) {
			EXPECT_EQ(each.after->backend, "netlink") << each.what->title;
		}
}

TEST(changes, finds_nothing_where_only_the_noise_differs)
{
	const results before = read(test::made_results({.seed = 3})), after = read(test::made_results({.seed = 4}));
	const auto found = compare_results(before, after);
	EXPECT_EQ(found.worse() + found.better(), 0u);
	EXPECT_EQ(compare_results(before, before).worse(), 0u);
}

TEST(changes, says_what_cannot_be_judged_and_that_machines_differ)
{
	json other = test::made_results({.repetitions = 2});
	other["machine"]["processor"] = "Another one";
	const auto found = compare_results(read(test::made_results()), read(other));
	EXPECT_EQ(found.unjudged(), found.figures.size());
	EXPECT_TRUE(has(found.in_one_sentence(), "for want of three runs"));
	EXPECT_TRUE(has(found.in_one_sentence(), "not measured on the same machine"));
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
