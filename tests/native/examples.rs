use std::path::Path;
use std::process::Command;

use crate::receiver::Receiver;

#[test]
fn the_hello_workflow_example_delivers_before_it_ends() {
    let receiver = Receiver::start();
    let example = Path::new(env!("CARGO_BIN_EXE_langfuse-edge")).with_file_name("examples/hello_workflow");
    let run = |keys: &[(&str, &str)]| {
        let output = Command::new(&example)
            .env_remove("LANGFUSE_PUBLIC_KEY")
            .env("LANGFUSE_BASE_URL", &receiver.url)
            .envs(keys.iter().copied())
            .output()
            .expect("`cargo test` builds the examples, unless it is given `--test`");
        String::from_utf8(output.stdout).expect("it prints text")
    };

    let traced = run(&[("LANGFUSE_PUBLIC_KEY", "pk-lf-dev"), ("LANGFUSE_SECRET_KEY", "sk-lf-dev")]);
    let untraced = run(&[]);

    assert_eq!(traced, "Hello, world!\ndelivered: 1, retained: 0, ok: true\n");
    assert_eq!(untraced, "Hello, world!\ndelivered: 0, retained: 0, ok: true\n");
}
