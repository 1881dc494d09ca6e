// The sign-in page: password, certificate of the connection, or the organisation's provider.

import { byId, setText } from "./dom.js";
import { get, me, post } from "./api.js";

let oneTime = "";

function say(error) {
  setText(byId("message"), error.message || String(error));
}

/** Go to the desk, or first to the change of a one-time password. */
async function enter() {
  const person = await me();
  if (!person.mustChange) {
    location.assign("/");
    return;
  }
  byId("password-form").hidden = true;
  byId("others").hidden = true;
  byId("change-form").hidden = false;
  byId("new").focus();
}

byId("password-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  oneTime = byId("password").value;
  try {
    await post("/api/login", { name: byId("name").value.trim(), password: oneTime });
    setText(byId("message"), "");
    await enter();
  } catch (error) {
    say(error);
  }
});

byId("change-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (byId("new").value !== byId("again").value) {
    say("the two are not the same");
    return;
  }
  try {
    await post("/api/password", { current: oneTime, new: byId("new").value });
    location.assign("/");
  } catch (error) {
    say(error);
  }
});

byId("certificate").addEventListener("click", async () => {
  try {
    await post("/api/login/certificate");
    await enter();
  } catch (error) {
    say(error);
  }
});

const methods = await get("/api/methods");
byId("openid").hidden = !methods.openid;
byId("certificate").hidden = !methods.certificate;
byId("certificate").textContent = `Sign in as ${methods.certificate} by certificate`;
if (new URLSearchParams(location.search).has("refused")) say("your organisation did not let you in: ask who runs this desk");
