use langfuse_edge::observe;

struct Connection;

#[observe] //~ the result of type `Connection` cannot be recorded; leave it out, `#[observe(skip_output)]`
async fn connect(host: &str) -> Result<Connection, String> {
    if host.is_empty() { Err("no host".to_owned()) } else { Ok(Connection) }
}

fn main() {
    drop(connect("localhost"));
}
