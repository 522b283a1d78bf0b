// Delivers what other Workers could not.
import { langfuseQueueConsumer } from "langfuse-edge";

export default { queue: langfuseQueueConsumer() };
