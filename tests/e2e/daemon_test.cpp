// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pm-netlinkd and `pathlab status` as a user types them: what they say, when they fail, and what they leave behind. What
// the daemon does with connections is in tests/live/.
#include <cstdlib>
#include <fstream>
#include <regex>

#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pm-netlink/netns.hpp"
#include "tests/e2e/program.hpp"

namespace pm::e2e {

namespace {

using nlohmann::json;

constexpr int failed = 1, usage = 2;

int ip(const std::string &arguments) { return std::system(("ip " + arguments).c_str()); }

words joined(words some, const words &more)
{
	some.insert(some.end(), more.begin(), more.end());
	return some;
}

bool says(const std::string &text, const std::string &what) { return text.find(what) != std::string::npos; }

// One line that begins with the program's name, says `what`, and no more.
void expect_one_sentence(const outcome &done, const std::string &program, int status, const std::string &what)
{
	EXPECT_EQ(done.status, status);
	EXPECT_EQ(done.out, "");
	EXPECT_TRUE(std::regex_match(done.err, std::regex{program + ": [^\n]{10,400}\n"})) << done.err;
	EXPECT_TRUE(says(done.err, what)) << "it does not say '" << what << "': " << done.err;
}

// With a network namespace and a run folder of its own.
class pm_netlinkd : public command {
protected:
	void SetUp() override
	{
		command::SetUp();
		if (IsSkipped())
			return;
		ASSERT_EQ(ip("netns add " + name_), 0);
		mkdir(run_folder().c_str(), 0755);
		before_ = sysctl();
		ASSERT_EQ(before_, is_named() ? "kernel" : "0");
	}
	void TearDown() override
	{
		unsetenv("NOTIFY_SOCKET");
		if (named_namespaces().count(name_)) {
			EXPECT_EQ(ip("netns delete " + name_), 0);
		}
		command::TearDown();
	}

	const std::string &name() const { return name_; }
	std::string run_folder() const { return path("run"); }

	// Which path manager new connections of the namespace get: by name from Linux 6.15 on, before by number.
	std::string sysctl() const
	{
		const auto where = netns::open(name_);
		if (!where)
			return where.error().text;
		return where->get_sysctl(is_named() ? "net.mptcp.path_manager" : "net.mptcp.pm_type")
			.value_or("unreadable");
	}
	static bool is_named() { return access("/proc/sys/net/mptcp/path_manager", F_OK) == 0; }
	static std::string userspace() { return is_named() ? "userspace" : "1"; }

	// The names in the run folder, without the namespace's number: ".lock", ".status".
	std::set<std::string> run_files() const
	{
		std::set<std::string> all;
		for (const auto &entry : std::filesystem::directory_iterator{run_folder()})
			all.insert(entry.path().extension());
		return all;
	}

	words command_line(const words &arguments) const
	{
		return joined({daemon_program(), "-n", name_, "--run-dir", run_folder()}, arguments);
	}
	outcome run(const words &arguments, const manner &how = {}) const
	{
		return process{command_line(arguments), folder(), how}.wait(20);
	}
	// A daemon that serves.
	std::unique_ptr<process> serve(const words &arguments = {"fullmesh"}) const
	{
		auto daemon = std::make_unique<process>(command_line(arguments), folder());
		EXPECT_TRUE(await(10, [&] { return run_files().count(".status") && !status().is_null(); }));
		EXPECT_EQ(sysctl(), userspace());
		return daemon;
	}
	// Ends as it should when told to; yields what it had to say meanwhile.
	static std::string end(process &daemon, int signal = SIGTERM)
	{
		daemon.signal(signal);
		const outcome done = daemon.wait(10);
		EXPECT_EQ(done.status, 0) << done.err;
		EXPECT_EQ(done.out, "");
		return done.err;
	}
	// What the daemon says of itself, or null.
	json status() const
	{
		const outcome asked = ask({"-j"});
		return asked.status == 0 ? json::parse(asked.out) : json{};
	}
	descriptor ask_without_listening() const
	{
		sockaddr_un address{};
		address.sun_family = AF_UNIX;
		for (const auto &entry : std::filesystem::directory_iterator{run_folder()})
			if (entry.path().extension() == ".status")
				entry.path().string().copy(address.sun_path, sizeof address.sun_path - 1);
		descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
		EXPECT_EQ(connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address), 0);
		return socket;
	}
	outcome ask(const words &arguments, const manner &how = {}) const
	{
		return pathlab(joined({"status", "-n", name_, "--run-dir", run_folder()}, arguments), how);
	}

	void expect_untouched() const
	{
		EXPECT_EQ(sysctl(), before_);
		EXPECT_EQ(run_files(), std::set<std::string>{}) << "in the run folder";
	}
	void fails(const words &arguments, int exit_code, const std::string &what, const manner &how = {}) const
	{
		std::string all;
		for (const std::string &word : arguments)
			all += " '" + word + "'";
		SCOPED_TRACE("pm-netlinkd" + all);
		expect_one_sentence(run(arguments, how), "pm-netlinkd", exit_code, what);
		expect_untouched();
	}

private:
	const std::string name_ = "pathlab-daemon-" + std::to_string(getpid());
	std::string before_;
};

// ---- what cannot be done ----

struct wrong {
	words arguments;
	int exit_code;
	const char *says;
};

TEST_F(pm_netlinkd, fails_on_a_command_line_that_makes_no_sense)
{
	const wrong table[] = {
		{{}, usage, "policy is required"},
		{{"fullmesh", "backup"}, usage, "backup"},
		{{"fullmesh", "--frobnicate"}, usage, "--frobnicate"},
		{{"fullmesh", "--set"}, usage, "--set"},
		{{"fullmesh", "--config"}, usage, "--config"},
		{{"fullmesh", "-n"}, usage, "--netns"},
	};
	for (const wrong &each : table)
		fails(each.arguments, each.exit_code, each.says);
}

TEST_F(pm_netlinkd, fails_on_a_policy_or_setting_that_there_is_not)
{
	const wrong table[] = {
		{{"frobnicate"}, usage, "there is no policy 'frobnicate'; these exist: ndiffports, fullmesh"},
		{{""}, usage, "''"},
		{{"ndiffports", "--set", "frobnicate=1"}, usage, "'frobnicate'; with policy ndiffports these exist: "},
		{{"fullmesh", "--set", "subflows=1"}, usage, "'subflows'"},
		{{"ndiffports", "--set", "subflows=9"}, usage, "from 1 to 8, not '9'"},
		{{"ndiffports", "--set", "subflows=0"}, usage, "from 1 to 8, not '0'"},
		{{"ndiffports", "--set", "subflows"}, usage, "NAME=VALUE"},
		{{"fullmesh", "--set", "buffer=1"}, usage, "buffer takes a number from 4096"},
		{{"fullmesh", "--set", "connections=0"}, usage, "connections takes a number from 1"},
		{{"fullmesh", "--set", "prefix=10.0.0.0/99"}, usage, "10.0.0.0/99"},
		{{"backup", "--set", "backup-interface=frobnicate0"}, failed, "'frobnicate0'"}, // may come yet
	};
	for (const wrong &each : table)
		fails(each.arguments, each.exit_code, each.says);
}

struct wrong_file {
	const char *content;
	const char *says;
};

TEST_F(pm_netlinkd, names_the_line_of_a_settings_file_that_it_does_not_understand)
{
	const wrong_file table[] = {
		{"# fine\nsubflows = 2\nfrobnicate = 1\n", "file:3: there is no setting 'frobnicate'"},
		{"\n\nsubflows\n", "file:3: 'subflows' is not of the form NAME = VALUE"},
		{"subflows = 9", "file:1: setting subflows of policy ndiffports takes a number from 1 to 8"},
		{"interface = lo\nprefix = 10.0.0.0/99\n", "file:2: "},
		{"fullmesh.subflows = 2\n", "file:1: "},
		{"subflows = 2\n\x01\x02\n", "file:2: the line has a byte of value 1"},
	};
	for (const wrong_file &each : table) {
		write("file", each.content);
		fails({"ndiffports", "--config", "file"}, usage, each.says);
	}
	fails({"ndiffports", "--config", "nowhere"}, usage, "nowhere: No such file or directory");
	fails({"ndiffports", "--config", "."}, usage, "settings file .");
}

TEST_F(pm_netlinkd, fails_on_a_namespace_that_there_is_not)
{
	const wrong table[] = {
		{{"-n", "frobnicate"}, failed, "'frobnicate' does not exist"},
		{{"-n", "frob/nicate"}, usage, "'frob/nicate' cannot be the name"},
		{{"-n", ".."}, usage, "'..' cannot be the name"},
		{{"-n", ""}, usage, "a name is needed"},
	};
	for (const wrong &each : table) {
		SCOPED_TRACE(each.arguments[1]);
		const words all = joined({daemon_program(), "fullmesh", "--run-dir", run_folder()}, each.arguments);
		expect_one_sentence(process{all, folder()}.wait(20), "pm-netlinkd", each.exit_code, each.says);
		expect_untouched();
	}
	// On a machine where no namespace ever had a name, there is no folder of names.
	const words all{daemon_program(), "fullmesh", "-n", "frobnicate", "--run-dir", run_folder()};
	const manner without{.as_nobody = false, .out = "", .mounts = "mount -t tmpfs none /run"};
	expect_one_sentence(process{all, folder(), without}.wait(20), "pm-netlinkd", failed, "does not exist");
}

TEST_F(pm_netlinkd, fails_without_privileges_and_says_which)
{
	const manner nobody{.as_nobody = true, .out = "", .mounts = ""};
	fails({"fullmesh"}, failed, "CAP_SYS_ADMIN", nobody); // to enter the namespace
	// In the namespace already, as nobody and as a root who has no say over networks.
	const words inside = {daemon_program(), "fullmesh", "--run-dir", run_folder()};
	const words enter = {"/usr/bin/nsenter", "--net=/run/netns/" + name(), "setpriv"};
	for (const words &as :
	     {words{"--reuid=65534", "--regid=65534", "--clear-groups"}, words{"--bounding-set=-net_admin"}}) {
		const outcome done = process{joined(joined(enter, as), inside), folder()}.wait(20);
		expect_one_sentence(done, "pm-netlinkd", failed, "CAP_NET_ADMIN");
		expect_untouched();
	}
}

TEST_F(pm_netlinkd, changes_nothing_where_the_sysctl_cannot_be_written)
{
	const manner read_only{.as_nobody = false,
			       .out = "",
			       .mounts = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"};
	fails({"fullmesh"}, failed, "Read-only file system", read_only);
}

TEST_F(pm_netlinkd, fails_where_it_cannot_have_its_files)
{
	write("file", "");
	for (const std::string place : {"/proc/run", "nowhere/run", "file", "file/run"}) {
		const words all{daemon_program(), "fullmesh", "-n", name(), "--run-dir", place};
		expect_one_sentence(process{all, folder()}.wait(20), "pm-netlinkd", failed, place);
		EXPECT_EQ(sysctl(), is_named() ? "kernel" : "0");
	}
	// Too long a name for a Unix socket, although not for a file.
	const std::string deep = path(std::string(100, 'x'));
	const words all{daemon_program(), "fullmesh", "-n", name(), "--run-dir", deep};
	expect_one_sentence(process{all, folder()}.wait(20), "pm-netlinkd", failed, "choose a shorter run folder");
	EXPECT_TRUE(std::filesystem::is_empty(deep));
	expect_untouched();
}

TEST_F(pm_netlinkd, leaves_a_namespace_to_the_one_that_serves_it)
{
	const auto first = serve();
	expect_one_sentence(run({"ndiffports"}), "pm-netlinkd", failed,
			    "another path manager of pathlab serves this network namespace");
	EXPECT_EQ(sysctl(), userspace());
	EXPECT_EQ(run_files(), (std::set<std::string>{".lock", ".status"}));
	EXPECT_EQ(status().at("policy"), "fullmesh");
	EXPECT_EQ(status().at("pid"), first->pid());
	EXPECT_EQ(end(*first), "");
	expect_untouched();
}

TEST_F(pm_netlinkd, ends_when_the_namespace_that_it_serves_is_deleted)
{
	const auto daemon = serve();
	ASSERT_EQ(ip("netns delete " + name()), 0);
	expect_one_sentence(daemon->wait(10), "pm-netlinkd", failed, "network namespace '" + name() + "' was deleted");
	EXPECT_EQ(run_files(), std::set<std::string>{});
}

TEST_F(pm_netlinkd, does_not_mind_other_namespaces_that_come_and_go)
{
	const auto daemon = serve();
	const std::string other = name() + "-other";
	ASSERT_EQ(ip("netns add " + other), 0);
	EXPECT_EQ(ip("netns delete " + other), 0);
	sleep_ms(100);
	EXPECT_TRUE(daemon->runs());
	EXPECT_EQ(end(*daemon), "");
}

// ---- signals ----

TEST_F(pm_netlinkd, restores_what_was_before_when_it_is_told_to_end)
{
	for (const int signal : {SIGTERM, SIGINT}) {
		const auto daemon = serve();
		EXPECT_EQ(run_files(), (std::set<std::string>{".lock", ".status"}));
		EXPECT_EQ(end(*daemon, signal), "");
		expect_untouched();
	}
}

TEST_F(pm_netlinkd, still_knows_what_was_before_when_it_follows_one_that_was_killed)
{
	auto daemon = serve();
	daemon->signal(SIGKILL);
	EXPECT_EQ(daemon->wait(10).status, 128 + SIGKILL);
	EXPECT_EQ(sysctl(), userspace());
	EXPECT_TRUE(run_files().count(".lock"));
	expect_one_sentence(ask({}), "pathlab", failed, "no path manager of pathlab serves");
	daemon = serve({"ndiffports"});
	EXPECT_EQ(status().at("policy"), "ndiffports");
	EXPECT_EQ(end(*daemon), "");
	expect_untouched();
}

TEST_F(pm_netlinkd, reads_the_state_back_when_it_is_asked_to)
{
	const auto daemon = serve();
	const auto done = [&] { return status().at("resyncs").at("done").get<unsigned>(); };
	EXPECT_TRUE(await(5, [&] { return done() >= 1; })) << "at the start";
	const unsigned before = done();
	daemon->signal(SIGUSR1);
	EXPECT_TRUE(await(5, [&] { return done() > before; }));
	EXPECT_EQ(end(*daemon), "");
}

TEST_F(pm_netlinkd, takes_over_settings_that_have_changed_if_it_understands_them)
{
	write("file", "subflows = 3\n");
	const auto daemon = serve({"ndiffports", "--config", "file", "--set", "connections=10"});
	const auto subflows = [&] { return status().at("settings").at("subflows").get<unsigned>(); };
	EXPECT_EQ(subflows(), 3u);
	EXPECT_EQ(status().at("connections").at("most"), 10);
	write("file", "subflows = 5\nconnections = 20\n");
	daemon->signal(SIGHUP);
	EXPECT_TRUE(await(5, [&] { return subflows() == 5; }));
	EXPECT_EQ(status().at("connections").at("most"), 10) << "the command line stays on top";
	write("file", "subflows = 99\n");
	daemon->signal(SIGHUP);
	sleep_ms(300);
	EXPECT_EQ(subflows(), 5u);
	std::filesystem::remove(path("file"));
	daemon->signal(SIGHUP);
	sleep_ms(300);
	EXPECT_EQ(subflows(), 5u);

	const words said = lines_of(end(*daemon));
	ASSERT_EQ(said.size(), 3u);
	EXPECT_EQ(said[0], "pm-netlinkd: took over the settings");
	EXPECT_TRUE(says(said[1], "file:1: ")) << said[1];
	EXPECT_TRUE(says(said[2], "No such file or directory")) << said[2];
	for (const unsigned line : {1u, 2u})
		EXPECT_TRUE(said[line].ends_with("; the settings are what they were")) << said[line];
}

// ---- the service manager ----

// Where a service manager hears (sd_notify(3)).
class notifications {
public:
	// '@': not in the file system, but in this network namespace.
	explicit notifications(const std::string &name)
	{
		sockaddr_un address{};
		address.sun_family = AF_UNIX;
		name.copy(address.sun_path, sizeof address.sun_path - 1);
		if (name[0] == '@')
			address.sun_path[0] = '\0';
		const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
		socket_ = descriptor{::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
		EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr *>(&address), size), 0);
		setenv("NOTIFY_SOCKET", name.c_str(), 1);
	}
	~notifications() { unsetenv("NOTIFY_SOCKET"); }
	// The next one; empty if there is none within so many seconds.
	std::string next(double seconds = 5) const
	{
		char text[1024];
		ssize_t size = -1;
		(void)await(seconds, [&] { return (size = recv(socket_.get(), text, sizeof text, 0)) > 0; });
		return {text, size > 0 ? static_cast<std::size_t>(size) : 0};
	}

private:
	descriptor socket_;
};

TEST_F(pm_netlinkd, tells_the_service_manager_when_it_is_ready_and_when_it_ends)
{
	for (const std::string &where : {path("notify"), '@' + path("notify")}) {
		const notifications manager{where};
		const auto daemon = serve();
		EXPECT_TRUE(manager.next().starts_with("READY=1\n"));
		daemon->signal(SIGHUP);
		EXPECT_TRUE(manager.next().starts_with("RELOADING=1"));
		EXPECT_TRUE(manager.next().starts_with("READY=1"));
		end(*daemon);
		EXPECT_TRUE(manager.next().starts_with("STOPPING=1"));
		EXPECT_EQ(manager.next(0), "");
	}
}

TEST_F(pm_netlinkd, is_never_ready_when_it_fails)
{
	const notifications manager{path("notify")};
	fails({"frobnicate"}, usage, "frobnicate");
	fails({"fullmesh", "--config", "nowhere"}, usage, "nowhere");
	EXPECT_EQ(manager.next(0), "");
}

TEST_F(pm_netlinkd, tells_the_service_manager_when_its_namespace_goes)
{
	const notifications manager{path("notify")};
	const auto daemon = serve();
	EXPECT_TRUE(manager.next().starts_with("READY=1\n"));
	ASSERT_EQ(ip("netns delete " + name()), 0);
	EXPECT_TRUE(manager.next().starts_with("STOPPING=1"));
	EXPECT_EQ(daemon->wait(10).status, failed);
}

// The service manager's unit, as the build has made it, with the daemon of the build.
TEST_F(pm_netlinkd, has_a_unit_that_systemd_understands)
{
	const std::filesystem::path built{daemon_program()};
	std::string unit = read_file(built.parent_path().parent_path() / "systemd/pm-netlinkd@.service");
	ASSERT_TRUE(std::regex_search(unit, std::regex{"\nExecStart=/[^\n@]*/pm-netlinkd %i\n"})) << unit;
	EXPECT_TRUE(says(unit, "\nType=notify\n"));
	EXPECT_TRUE(says(unit, "\nRuntimeDirectoryPreserve=yes\n"))
		<< "the lock is what a killed one's successor reads";
	if (access("/usr/bin/systemd-analyze", X_OK) != 0)
		return; // the rest is systemd's to judge
	unit = std::regex_replace(unit, std::regex{"\nExecStart=[^ ]*"}, "\nExecStart=" + built.string());
	write("pm-netlinkd@fullmesh.service", unit);
	const words verify{"/usr/bin/systemd-analyze", "verify", "--man=no", path("pm-netlinkd@fullmesh.service")};
	const outcome done = process{verify, folder()}.wait(60);
	EXPECT_EQ(done.status, 0);
	EXPECT_FALSE(says(done.err, "pm-netlinkd")) << done.err;
}

// ---- pathlab status ----

TEST_F(pm_netlinkd, shows_its_status_in_each_form)
{
	ASSERT_EQ(ip("-n " + name() + " link set lo up"), 0);
	ASSERT_EQ(ip("-n " + name() + " address add 10.9.8.7/32 dev lo"), 0);
	const auto daemon = serve({"ndiffports", "--set", "subflows=3"});

	const outcome text = ask({});
	EXPECT_EQ(text.status, 0);
	EXPECT_EQ(text.err, "");
	EXPECT_TRUE(says(text.out, "ndiffports subflows=3, for ")) << text.out;
	EXPECT_TRUE(says(text.out, "(process " + std::to_string(daemon->pid()) + ")\n")) << text.out;

	const json all = status();
	EXPECT_EQ(all.at("policy"), "ndiffports");
	EXPECT_EQ(all.at("settings"), json({{"subflows", 3}}));
	EXPECT_EQ(all.at("pid"), daemon->pid());
	EXPECT_EQ(all.at("connections").at("open"), 0);
	EXPECT_EQ(all.at("events").at("lost"), 0);

	const outcome metrics = ask({"--openmetrics"});
	EXPECT_EQ(metrics.status, 0);
	EXPECT_EQ(metrics.err, "");
	EXPECT_TRUE(says(metrics.out, "\npathlab_connections 0\n")) << metrics.out;
	EXPECT_TRUE(metrics.out.ends_with("\n# EOF\n"));

	// From inside the namespace it needs no name, and no privilege but that to use the socket.
	const words inside{"/usr/bin/nsenter", "--net=/run/netns/" + name(), program(), "status", "--run-dir",
			   run_folder()};
	const outcome here = process{inside, folder()}.wait();
	EXPECT_EQ(here.status, 0) << here.err;
	EXPECT_TRUE(says(here.out, "ndiffports subflows=3"));
	EXPECT_EQ(end(*daemon), "");
}

TEST_F(pm_netlinkd, answers_many_who_ask_and_those_who_do_not_listen)
{
	const auto daemon = serve();
	std::vector<std::unique_ptr<process>> asking;
	for (unsigned n = 0; n < 10; ++n)
		asking.push_back(std::make_unique<process>(words{program(), "status", "-n", name(), "--run-dir",
								 run_folder(), "-j"},
							   folder()));
	for (const auto &each : asking)
		EXPECT_EQ(each->wait(10).status, 0);
	std::vector<descriptor> deaf; // who ask, and never read the answer
	for (unsigned n = 0; n < 20; ++n)
		deaf.push_back(ask_without_listening());
	EXPECT_EQ(status().at("pid"), daemon->pid());
	const manner full{.as_nobody = false, .out = "/dev/full", .mounts = ""};
	expect_one_sentence(ask({}, full), "pathlab", failed, "cannot write to");
	EXPECT_EQ(status().at("pid"), daemon->pid());
	EXPECT_EQ(end(*daemon), "");
}

TEST_F(pm_netlinkd, has_no_status_where_it_does_not_run)
{
	expect_one_sentence(ask({}), "pathlab", failed, "no path manager of pathlab serves this network namespace");
	expect_one_sentence(ask({"-j"}), "pathlab", failed, "start pm-netlinkd");
	expect_one_sentence(ask({"frobnicate"}), "pathlab", usage, "frobnicate");
	expect_one_sentence(pathlab({"status", "-n", name(), "--run-dir", "nowhere"}), "pathlab", failed,
			    "start pm-netlinkd");
	expect_one_sentence(pathlab({"status", "--openmetrics", "-n", "frobnicate"}), "pathlab", failed,
			    "'frobnicate' does not exist");
	expect_one_sentence(pathlab({"status", "-n", ""}), "pathlab", usage, "a name is needed");
	const manner nobody{.as_nobody = true, .out = "", .mounts = ""};
	expect_one_sentence(ask({}, nobody), "pathlab", failed, "root");
	const auto daemon = serve();
	const words inside{"/usr/bin/nsenter", "--net=/run/netns/" + name(),
			   "setpriv",          "--reuid=65534",
			   "--regid=65534",    "--clear-groups",
			   program(),          "status",
			   "--run-dir",        run_folder()};
	expect_one_sentence(process{inside, folder()}.wait(), "pathlab", failed, "Permission denied");
	EXPECT_EQ(end(*daemon), "");
}

} // namespace

} // namespace pm::e2e
