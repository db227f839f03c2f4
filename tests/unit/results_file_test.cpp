// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// results.json of whoever wrote it: whatever is in its fields, there is a report, or one sentence that says what is wrong.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "report/html.hpp"
#include "report/markdown.hpp"
#include "report/model.hpp"
#include "report/report.hpp"
#include "tests/support/made_results.hpp"
#include "tests/support/read_results.hpp"

namespace pm::report {

namespace {

using test::has;

std::string refusal_of(json data)
{
	const auto checked = check_results("file", std::move(data));
	EXPECT_FALSE(checked);
	const std::string text = checked ? "" : checked.error().text;
	EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0) << text;
	return text;
}

TEST(results_file, of_another_schema_or_shape_is_refused_in_one_sentence)
{
	json old = test::made_results();
	old["schema"] = 1;
	EXPECT_TRUE(has(refusal_of(old), "has the schema 1, this pathlab reads pathlab-results/2"));
	EXPECT_TRUE(has(refusal_of(json::array()), "no results.json"));
	EXPECT_TRUE(has(refusal_of(json::object()), "no schema"));
	json without = test::made_results();
	without["stress"][3].erase("load");
	EXPECT_TRUE(has(refusal_of(without), "/stress/3/load is missing"));
	json of_type = test::made_results();
	of_type["stress"][3]["events"] = {{"emitted", "many"}, {"delivered", 1}, {"lost", json::object()}};
	EXPECT_TRUE(has(refusal_of(of_type), "/stress/3/events/emitted is of another type"));
	const auto missing = read_results("/nowhere/at/all");
	ASSERT_FALSE(missing);
	EXPECT_TRUE(has(missing.error().text, "/nowhere/at/all"));
}

// They become part of gnuplot's scripts, of the page's ids and of commands that people paste into a shell.
TEST(results_file, a_name_with_a_sign_that_means_something_elsewhere_is_refused)
{
	const json good = test::made_results({.repetitions = 1});
	for (const char *field : {"/stress/0/place", "/stress/0/backend", "/stress/0/policy", "/stress/0/scenario",
				  "/replay/0/backend", "/replay/0/policy", "/left_out/0/backend", "/left_out/0/place"})
		for (const char *name : {"", "a'b", "a\nsystem 'id'", "a\"><b>", "$(id)", "a b", "Ä", "A"}) {
			json data = good;
			data[json::json_pointer{field}] = name;
			EXPECT_TRUE(has(refusal_of(data), std::string{field} + " may only have a-z, 0-9 and - in it"))
				<< name;
		}
}

TEST(results_file, what_is_nested_without_end_is_refused_before_anything_walks_through_it)
{
	const std::string file = testing::TempDir() + "pathlab-nested.json";
	std::string text = test::made_results().dump();
	text.insert(text.rfind('}'), ",\"x\":" + std::string(300'000, '[') + std::string(300'000, ']'));
	std::ofstream{file} << text;
	const auto read = read_results(file);
	std::remove(file.c_str());
	ASSERT_FALSE(read);
	EXPECT_TRUE(has(read.error().text, "nested more than 64 deep")) << read.error().text;
}

TEST(results_file, a_sum_that_does_not_close_is_in_no_figure)
{
	json data = test::made_results({.repetitions = 1});
	data["replay"][0]["delivered"] = data["replay"][0]["delivered"].get<std::uint64_t>() + 1;
	data["stress"][0]["events"] = {{"emitted", 10}, {"delivered", 1}, {"lost", {{"socket", 8}}}};
	const auto read = check_results("made", data);
	ASSERT_TRUE(read) << read.error().text;
	for (const char *list : {"replay", "stress"}) {
		EXPECT_TRUE(has(read->data[list][0].value("excluded", json{}).dump(), "its sum does not close"))
			<< list;
		EXPECT_TRUE(read->data[list][1].value("excluded", json{}).is_null()) << list;
	}
}

// ---- every field, without it and with what does not belong there ----

// All fields; of lists of numbers only the first.
void add_places(std::vector<json::json_pointer> &to, const json &in, const json::json_pointer &at)
{
	for (const auto &[name, value] : in.items()) {
		const json::json_pointer here = in.is_array() ? at / std::stoul(name) : at / name;
		to.push_back(here);
		if (value.is_structured())
			add_places(to, value, here);
		if (in.is_array() && !value.is_object())
			return;
	}
}

// A run of each kind, short.
json few_runs()
{
	json data = test::made_results({.backends = {"netlink"}, .vm_backends = {"bpf"}, .repetitions = 1});
	json some = json::array();
	for (const json &run : data["stress"])
		if (run["scenario"] != "steady" || run["load"]["rate"] == 500 || run["load"]["rate"] == 200)
			some.push_back(run);
	data["stress"] = some;
	data["replay"] = {data["replay"][0], data["replay"][19]};
	data["virtual_machine"] = {{"machine", data["machine"]}, {"versions", data["versions"]}};
	return data;
}

// Everything that is made of results; fails if one of it throws.
void read_all(const results &all, const results &before)
{
	const document made = make_document({before, all});
	EXPECT_EQ(made.answer.size(), 3u);
	EXPECT_FALSE(to_html(made).empty() || to_markdown(made).empty());
	(void)to_json(compare_results(all, before)).dump();
	const auto points = points_of(all);
	(void)fit_model(points, "host", "netlink");
}

TEST(results_file, whatever_is_in_a_field_makes_a_report_or_one_sentence)
{
	const json good = few_runs();
	const auto before = check_results("before", good);
	ASSERT_TRUE(before) << before.error().text;
	std::vector<json::json_pointer> places;
	add_places(places, good, json::json_pointer{});
	ASSERT_GT(places.size(), 500u);
	const json others[] = {nullptr, true, 0, -1, 1e300, "x", "<'\"\n", json::array(), json::array({1}),
			       json::object(), {{"x", "y"}}};
	std::size_t refused = 0, read = 0;
	const auto judge = [&](const json &data, const json::json_pointer &at) {
		const auto checked = check_results("after", data);
		if (checked) {
			++read;
			EXPECT_NO_THROW(read_all(*checked, *before)) << at << ' ' << data.value(at, json{});
			return;
		}
		++refused;
		EXPECT_TRUE(checked.error().text.starts_with("after ")) << checked.error().text;
		EXPECT_EQ(checked.error().text.find('\n'), std::string::npos) << checked.error().text;
	};
	// In turn, each place is taken out or has one of the others in it: all of them in each would take minutes.
	std::size_t turn = 0;
	for (const json::json_pointer &at : places) {
		json data = good;
		if (const std::size_t which = turn++ % (std::size(others) + 1); which < std::size(others))
			data[at] = others[which];
		else if (json &around = data.at(at.parent_pointer()); around.is_object())
			around.erase(at.back());
		else
			around.erase(0);
		judge(data, at);
	}
	std::set<std::string> fields; // each once, in whichever run: null many may be
	for (const json::json_pointer &at : places) {
		if (!fields.insert(std::regex_replace(at.to_string(), std::regex{"/[0-9]+"}, "/*")).second)
			continue;
		json data = good;
		data[at] = nullptr;
		judge(data, at);
	}
	EXPECT_GT(refused, places.size() / 4);
	EXPECT_GT(read, places.size() / 4);
}

} // namespace

} // namespace pm::report
