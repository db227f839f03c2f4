// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab report, and its page in a real browser: Chromium, of the size of a desk and of a hand, light, dark and on paper.
#include <iterator>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/e2e/program.hpp"
#include "tests/support/browser.hpp"
#include "tests/support/made_results.hpp"

namespace pm::e2e {

namespace {

using nlohmann::json;
using test::made_results;

class report_command : public command {
protected:
	// A folder with results.json.
	void make(const std::string &name, const json &results) const
	{
		std::filesystem::create_directories(path(name));
		write(name + "/results.json", results.dump());
	}
	void fails(const words &arguments, const std::string &what, const manner &how = {}) const
	{
		const outcome done = pathlab(arguments, how);
		EXPECT_EQ(done.status, 1) << done.err;
		EXPECT_EQ(done.out, "");
		EXPECT_EQ(lines_of(done.err).size(), 1u) << done.err;
		EXPECT_NE(done.err.find(what), std::string::npos) << done.err;
	}
};

TEST_F(report_command, makes_a_page_and_a_summary_from_results)
{
	make("one", made_results());
	EXPECT_NE(succeed({"report", "one"}).find("one/report.html"), std::string::npos);
	EXPECT_EQ(files(), (words{"one", "one/report.html", "one/results.json", "one/summary.md"}));
	const std::string page = read_file(path("one/report.html"));
	EXPECT_NE(page.find("</html>"), std::string::npos);
	EXPECT_EQ(page.find("http-equiv"), std::string::npos);
	EXPECT_EQ(page.find(" src="), std::string::npos) << "everything is in it";
	EXPECT_EQ(page.find("<link"), std::string::npos) << "everything is in it";
}

// As Ctrl-C does it: gnuplot gets it as well. Once: a second one would end the program at once.
TEST_F(report_command, leaves_the_report_that_was_there_when_it_is_interrupted)
{
	make("one", made_results());
	write("one/report.html", "the one before");
	std::filesystem::create_directories(path("bin"));
	write("bin/gnuplot", "#!/bin/sh\ntrap '' INT\nmkdir \"$0.once\" && kill -INT 0\nexit 1\n");
	std::filesystem::permissions(path("bin/gnuplot"), std::filesystem::perms::owner_all);
	const outcome done = process({"/usr/bin/env", "PATH=" + path("bin") + ":/usr/bin:/bin", program(), "report",
				      "one"},
				     folder())
				     .wait();
	EXPECT_EQ(done.status, 130) << done.err;
	EXPECT_TRUE(read_file(path("one/report.html")) == "the one before");
}

TEST_F(report_command, of_two_says_what_changed)
{
	make("before", made_results({.seed = 1}));
	make("after", made_results({.seed = 2, .slower = 1.5}));
	const std::string said = succeed({"report", "before", "after", "-o", "new"});
	EXPECT_NE(said.find("got worse beyond their noise and 0 better"), std::string::npos) << said;
	EXPECT_NE(read_file(path("new/report.html")).find("Changes since before"), std::string::npos);
	const json as_json = json::parse(succeed({"report", "-j", "before", "after"}));
	EXPECT_EQ(as_json.at("answer").size(), 3u);
	EXPECT_GT(as_json.at("changes").at(0).at("worse"), 10);
	const json same = json::parse(succeed({"report", "-j", "before", "before", "before"}));
	EXPECT_EQ(same.at("changes").size(), 2u);
	EXPECT_EQ(same.at("changes").at(0).at("worse"), 0);
}

TEST_F(report_command, what_is_no_results_is_one_sentence)
{
	json old = made_results();
	old["schema"] = 1;
	make("old", old);
	make("cut", made_results());
	write("cut/results.json", read_file(path("cut/results.json")).substr(0, 10000));
	make("good", made_results({.replay = false, .stress = false}));
	std::filesystem::create_directories(path("empty"));
	const words before = files();
	fails({"report", "old"}, "has the schema 1");
	fails({"report", "good", "old"}, "has the schema 1");
	fails({"report", "cut"}, "cut off");
	fails({"report", "empty"}, "No such file");
	fails({"report", "missing"}, "No such file");
	fails({"report", "good", "-o", "/proc/new"}, "/proc/new");
	EXPECT_EQ(files(), before);
	EXPECT_EQ(pathlab({"report"}).status, 2);
}

TEST_F(report_command, a_full_disk_costs_no_earlier_report)
{
	make("one", made_results());
	succeed({"report", "one"});
	const std::string before = read_file(path("one/report.html"));
	const manner full{.as_nobody = false,
			  .out = "",
			  .mounts = "mkdir small && mount -t tmpfs -o size=64k none small"};
	fails({"report", "one", "-o", "small"}, "No space left on device", full);
	EXPECT_EQ(read_file(path("one/report.html")), before);
}

TEST_F(report_command, without_gnuplot_leaves_the_pictures_out_and_says_why)
{
	make("one", made_results());
	const manner hidden{.as_nobody = false,
			    .out = "",
			    .mounts = "mount --bind /dev/null $(readlink -f /usr/bin/gnuplot); PATH=/nowhere"};
	const outcome done = pathlab({"report", "one"}, hidden);
	EXPECT_EQ(done.status, 0) << done.err;
	EXPECT_EQ(done.err, "");
	EXPECT_NE(read_file(path("one/report.html")).find("left out, gnuplot"), std::string::npos);
}

TEST_F(report_command, writes_each_picture_as_a_file_of_its_own)
{
	make("one", made_results());
	succeed({"report", "one", "--pictures", "one/pictures"});
	const std::string page = read_file(path("one/report.html"));
	std::size_t drawn = 0;
	for (const std::string &file : files()) {
		if (!file.starts_with("one/pictures/"))
			continue;
		++drawn;
		const std::string picture = read_file(path(file)), name = std::filesystem::path{file}.stem();
		EXPECT_NE(page.find("<figure id=\"" + name + '"'), std::string::npos) << name;
		EXPECT_TRUE(picture.starts_with("<svg ") && picture.ends_with("</svg>\n")) << name;
		EXPECT_EQ(picture.find("var("), std::string::npos) << name << ": a file has no style sheet";
	}
	std::size_t shown = 0;
	for (std::size_t at = 0; (at = page.find("<figure id=", at)) != std::string::npos; ++at)
		++shown;
	EXPECT_GT(drawn, 0u);
	EXPECT_EQ(drawn, shown);
	fails({"report", "one", "--pictures", "/proc/new"}, "/proc/new");
}

// What reproduces a picture has to be what the program takes: without privileges, that is found out and nothing measured.
TEST_F(report_command, every_command_in_it_is_one_that_the_program_takes)
{
	make("one", made_results());
	succeed({"report", "one"});
	bool inside = false;
	std::set<std::string> commands;
	for (const std::string &line : lines_of(read_file(path("one/summary.md")))) {
		inside = inside != (line == "```");
		if (const auto at = line.find("pathlab "); inside && at != std::string::npos)
			commands.insert(line.substr(at + 8));
	}
	EXPECT_GT(commands.size(), 10u);
	for (const std::string &each : commands) {
		std::istringstream all{each};
		const words arguments{std::istream_iterator<std::string>{all}, {}};
		const outcome done = pathlab(arguments, {.as_nobody = true, .out = "", .mounts = ""});
		EXPECT_EQ(done.status, 1) << each << '\n' << done.err;
	}
}

// ---- in a browser ----

class report_page : public report_command {
protected:
	void SetUp() override
	{
		report_command::SetUp();
		if (IsSkipped())
			return;
		if (std::system("command -v chromium >/dev/null") != 0)
			GTEST_SKIP() << "chromium is not installed";
		browser_ = test::browser::start();
		ASSERT_TRUE(browser_) << "chromium does not start";
		json data = made_results({.slower = 1.5});
		data["left_out"][0]["reason"] = "a reason of many words, longer than a line on the screen of a "
						"telephone, without which nobody knows why";
		make("before", made_results());
		make("one", data);
		succeed({"report", "before", "one"});
	}
	void TearDown() override
	{
		browser_.reset();
		expect_no_orphans(10); // a browser is many processes, which do not end at once
		report_command::TearDown();
	}

	std::string page() const { return path("one/report.html"); }
	json evaluate(const std::string &expression) { return browser_->evaluate(expression); }

	std::unique_ptr<test::browser> browser_;
};

// Every text in the visible pictures: how small the smallest is, and how many stick out of their picture.
const char *texts = R"((() => {
	let small = 99, out = 0, n = 0;
	for (const svg of document.querySelectorAll('figure svg.wide, figure svg.narrow')) {
		const all = svg.getBoundingClientRect();
		if (!all.width) continue;
		for (const text of svg.querySelectorAll('text')) {
			const r = text.getBoundingClientRect();
			if (!r.width) continue;
			++n;
			small = Math.min(small, parseFloat(getComputedStyle(text).fontSize) * all.width / svg.viewBox.baseVal.width);
			out += r.left < all.left - 1 || r.right > all.right + 1 || r.top < all.top - 1 || r.bottom > all.bottom + 1;
		}
	}
	return {small, out, n};
})())";

TEST_F(report_page, shows_every_picture_without_errors_or_overflow)
{
	for (const int width : {1280, 390})
		for (const bool dark : {false, true}) {
			SCOPED_TRACE(std::to_string(width) + (dark ? " dark" : " light"));
			ASSERT_TRUE(browser_->open(page(), {.width = width, .height = 900, .dark = dark}));
			EXPECT_EQ(browser_->errors(), std::vector<std::string>{});
			EXPECT_EQ(browser_->fetched(), std::vector<std::string>{}) << "it needs nothing but itself";
			EXPECT_EQ(evaluate("document.documentElement.scrollWidth"), width);
			EXPECT_EQ(evaluate("[...document.querySelectorAll('section *')].filter(e => "
					   "!e.closest('.scroll') && !e.closest('svg') && "
					   "e.getBoundingClientRect().right > innerWidth + 1).length"),
				  0);
			for (const char *id : {"loss-host", "loss-vm", "latency-host-500", "overrun-host", "overrun-vm",
					       "cost-host", "cost-vm", "buffer-host", "replay-host"}) {
				const std::string figure = "document.getElementById('" + std::string{id} + "')";
				EXPECT_EQ(evaluate("[..." + figure +
						   ".querySelectorAll('svg.wide, svg.narrow')].filter(s => "
						   "s.getBoundingClientRect().height > 100).length"),
					  1)
					<< id << ": of the two sizes, one is shown";
				EXPECT_GT(evaluate(figure + ".querySelectorAll('path').length"), 20) << id;
			}
			const json found = evaluate(texts);
			EXPECT_GE(found.at("small"), 9) << "pixels";
			EXPECT_EQ(found.at("out"), 0);
			EXPECT_GT(found.at("n"), 100);
			const char *contrast =
				"(() => { const l = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / "
				"255).map(x => x <= .03928 ? x / 12.92 : "
				"((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };"
				"const s = getComputedStyle(document.body), paper = l(s.backgroundColor), probe = "
				"document.createElement('i'); document.body.append(probe);"
				"let least = 99; for (const name of ['ink', 'soft', 'none', 'kernel', 'mptcpd-stock', "
				"'mptcpd', 'netlink', 'ringbuf', 'bpf', 'native']) {"
				"probe.style.color = `var(--${name})`; const c = l(getComputedStyle(probe).color);"
				"least = Math.min(least, (Math.max(c, paper) + .05) / (Math.min(c, paper) + .05)); } "
				"probe.remove(); return least; })()";
			EXPECT_GE(evaluate(contrast), 3) << "every curve is seen on this background";
		}
}

TEST_F(report_page, has_an_answer_tables_and_commands)
{
	ASSERT_TRUE(browser_->open(page(), {}));
	EXPECT_EQ(evaluate("document.querySelectorAll('#answer p').length"), 3);
	for (const char *id : {"loss", "latency", "overrun", "cost", "buffer", "replay"}) {
		const std::string section = "document.getElementById('" + std::string{id} + "')";
		EXPECT_GT(evaluate(section + ".querySelectorAll('table tbody tr').length"), 3) << id;
		EXPECT_EQ(evaluate(section + ".querySelector('pre').innerText.startsWith('pathlab ')"), true) << id;
	}
	EXPECT_EQ(evaluate("JSON.parse(document.getElementById('results').textContent).schema"), "pathlab-results/2");
	EXPECT_EQ(evaluate("[...document.querySelectorAll('nav a')].every(a => "
			   "document.querySelector(a.getAttribute('href')))"),
		  true);
	EXPECT_EQ(evaluate("(ids => ids.length - new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => "
			   "e.id))"),
		  0)
		<< "ids are there twice";
	EXPECT_GT(evaluate("document.querySelectorAll('td.worse').length"), 10);
}

TEST_F(report_page, a_picture_in_a_file_of_its_own_has_title_legend_and_curves)
{
	succeed({"report", "one", "--pictures", "pictures"});
	ASSERT_TRUE(browser_->open(path("pictures/latency-host-500.svg"), {}));
	EXPECT_EQ(browser_->errors(), std::vector<std::string>{});
	EXPECT_EQ(evaluate("document.documentElement.tagName"), "svg") << "else it is no well-formed file";
	EXPECT_EQ(evaluate("document.querySelector('text').textContent"),
		  "Time to the second path at 500/s, on the host");
	for (const char *backend : {"kernel", "mptcpd-stock", "mptcpd", "netlink", "ringbuf"})
		EXPECT_EQ(evaluate("[...document.querySelectorAll('text')].filter(t => t.textContent === '" +
				   std::string{backend} + "').length"),
			  1)
			<< backend;
	EXPECT_EQ(evaluate("[...document.querySelectorAll('text')].filter(t => t.getBoundingClientRect().right > "
			   "document.documentElement.getBoundingClientRect().right).length"),
		  0);
	EXPECT_GT(evaluate("document.querySelectorAll('path').length"), 20);
}

TEST_F(report_page, prints_black_on_white_with_the_wide_pictures)
{
	ASSERT_TRUE(browser_->open(page(), {.width = 700, .height = 900, .dark = true, .paper = true}));
	EXPECT_EQ(evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
	EXPECT_EQ(evaluate("getComputedStyle(document.querySelector('nav')).display"), "none");
	EXPECT_EQ(evaluate("[...document.querySelectorAll('svg.narrow')].filter(s => "
			   "s.getBoundingClientRect().height).length"),
		  0);
	browser_->print(path("one/report.pdf"));
	EXPECT_EQ(read_file(path("one/report.pdf")).substr(0, 5), "%PDF-");
}

} // namespace

} // namespace pm::e2e
