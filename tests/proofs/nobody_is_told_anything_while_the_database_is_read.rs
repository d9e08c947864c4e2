use jit_sudo::database::Database;
use jit_sudo::voice::Voice;

fn told_meanwhile(database: &Database, voice: &mut Voice) {
    let reading = database.reading(voice);
    voice.say("a pipe that nobody reads");
    let _ = reading.close();
}

fn main() {}
