use langfuse_edge::{observe, step};

#[observe(skip(conection))] //~ `conection` is no argument of this function: it has `connection`, `id`
fn misspelt(connection: u32, id: u32) {}

#[observe(skip_all, rename(id = "number"))] //~ with `skip_all` no argument is recorded
fn renamed_and_skipped(id: u32) {}

#[observe(as_kind = "tool")] //~ there is no option `as_kind`; there are name, kind,
fn unknown_option() {}

#[observe(kind = "tol")] //~ there is no kind `tol`; there are span, generation, agent, tool
fn unknown_kind() {}

#[observe(kind = "event")] //~ an event is a point in time
fn point_in_time() {}

#[observe(client = &client)] //~ the client is borrowed by itself
fn borrowed_twice(client: u32) {}

struct Own;

impl Own {
    #[observe(skip(self))] //~ `self` is never recorded
    fn myself(&self) {}
}

#[observe]
const fn constant() {} //~ a const fn cannot be observed

#[observe]
fn endless() -> ! { //~ a function that never returns cannot be observed
    loop {}
}

#[observe]
struct NotAFunction; //~ #[observe] goes before a function or a method

trait Bodiless {
    #[observe]
    fn bodiless(); //~ #[observe] goes before a function that has a body
}

#[observe(flush = langfuse_edge::StepFlush::none())] //~ only a step flushes
async fn no_step() {}

#[step]
fn not_async() {} //~ a step flushes when it has ended, so its function must be async

fn main() {}
