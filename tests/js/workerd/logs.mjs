// A Worker that logs, by `log` and on the console.
import { Langfuse, log, setLangfuse, step } from "langfuse-edge";
import { captureConsole } from "langfuse-edge/console";

// Each test gives its own.
import options from "./options.mjs";

const langfuse = new Langfuse(options.client);
setLangfuse(langfuse);

const wait = () => scheduler.wait(5);

const routes = {
  /** Lines within a step, before and after others had their turn. */
  lines: (name) =>
    step(name, async (observation) => {
      log("info", `begin ${name}`, { name });
      await wait();
      console.warn("%s is slow", name);
      console.error(new TypeError(`${name} fails`));
      await wait();
      console.log("not captured");
      log("debug", `end ${name}`, undefined, { parent: observation });
    }),
  outside(name) {
    log("error", `alone ${name}`);
    console.error(`nowhere ${name}`);
  },
};

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    // Every request asks for it; it is once.
    captureConsole({ level: "warn" });
    await routes[pathname.slice(1)](searchParams.get("name"));
    return Response.json(await langfuse.flush());
  },
};
