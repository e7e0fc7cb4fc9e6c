from conftest import PATIENCE_SECONDS, message


def test_posts_what_changed_once(run, data):
    bot = run("apps.bot.run_bot", "--interval", "0.05")
    bot.wait_for_log("watching")
    assert run("apps.mtproto.worker", "--once").process.wait(PATIENCE_SECONDS) == 0
    bot.wait_for_log("post: birds has 2 messages and 200 views")
    bot.wait_for_log("post: boats has 1 messages")

    with open(data / "boats.jsonl", "a") as file:
        file.write(message())
    assert run("apps.mtproto.worker", "--once").process.wait(PATIENCE_SECONDS) == 0
    bot.wait_for_log("post: boats has 2 messages")
    assert bot.log.count("post: birds") == 1

    status, seconds = bot.terminate()
    assert status == 0 and seconds < 2
    assert "stopping: signal_SIGTERM" in bot.log

    again = run("apps.bot.run_bot", "--interval", "0.05")
    again.wait_for_log("watching")
    assert again.terminate()[0] == 0
    assert "post:" not in again.log


def test_a_damaged_database_is_told_once(run, database):
    database.parent.mkdir()
    database.write_text("this is no database, but long enough to be taken for one" * 100)
    bot = run("apps.bot.run_bot", "--interval", "0.01")
    bot.wait_for_log("cannot read")
    assert bot.terminate()[0] == 0
    assert bot.log.count("cannot read") == 1
