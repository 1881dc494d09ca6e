// The open stream from the desk. A browser reconnects by itself; how old the picture is, is counted here.

import { store } from "./store.js";

/** Listen; `handlers` by event name. Returns a function that ends it. */
export function listen(path, handlers) {
  const source = new EventSource(path);
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      store.heard = Date.now();
      handle(JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    // Closed for good: the session is over, or the desk refuses.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
  });
  return () => source.close();
}
