/** Microseconds of CPU time that this process has spent, in all its threads. */
export function spentMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}
