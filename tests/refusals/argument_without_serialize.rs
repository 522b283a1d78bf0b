use langfuse_edge::observe;

struct Connection;

#[observe]
fn load(
    connection: &Connection, //~ this argument of type `&Connection` cannot be recorded; leave it out by its name, `#[observe(skip(…))]`
    id: u32,
) -> u32 {
    let Connection = connection;
    id
}

fn main() {
    load(&Connection, 1);
}
