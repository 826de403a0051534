// Nobody asks in which order instructions run.
fn ticket(channel: u32, instruction: u32, which: u32, invocation: u32) {}
