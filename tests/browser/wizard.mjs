// Walks the set-up of a new box: the slips are told, the records are seen to appear, the panel
// ends up ready.
//
//   node wizard.mjs BASE-URL CLAIM-CODE OUTPUT-FOLDER
//
// BASE-URL is a new box, such as http://127.0.0.1:8080, in a world whose DNS takes up the records
// within a minute. The account is alice@DOMAIN with the password PASSWORD, from the environment.
// Exits 1 on the first failure.
import assert from "node:assert/strict";
import { visit } from "./browser.mjs";

const [base, code, folder] = process.argv.slice(2);
const { DOMAIN, PASSWORD } = process.env;
if (!base || !code || !folder || !DOMAIN || !PASSWORD) {
  console.error("usage: DOMAIN=… PASSWORD=… node wizard.mjs BASE-URL CLAIM-CODE OUTPUT-FOLDER");
  process.exit(2);
}

await visit({ base, folder, title: "the set-up", secret: PASSWORD }, async (visitor, page) => {
  const shot = (name) => visitor.shot(`wizard-${name}`);
  const { heading, press } = { heading: (t) => visitor.heading(t), press: (t) => visitor.press(t) };

  await page.goto(base);
  await shot("1-start");
  visitor.expected = "403";
  await page.getByLabel("Code on the box").fill("0000-0000");
  await press("Begin");
  await page.getByText("That is not the code").waitFor();
  await shot("1-wrong-code");
  visitor.expected = null;
  await page.goto(new URL("/board", base).href);
  await page.locator("[data-word]", { hasText: "SET ME UP" }).waitFor();
  await shot("1-board");
  await page.goto(base);
  await page.getByLabel("Code on the box").fill(code);
  await press("Begin");

  await heading("Which domain is yours?");
  assert.equal(await page.getByLabel("Time zone").inputValue(), "Europe/Berlin");
  visitor.expected = "422";
  await page.getByLabel("Your domain").fill(`alice@${DOMAIN}`);
  await press("Next");
  await page.getByText("write only what stands after the @").waitFor();
  await shot("2-domain-slip");
  visitor.expected = null;
  await page.getByLabel("Your domain").fill(DOMAIN);
  await shot("2-domain");
  await press("Next");

  await heading("Your account");
  visitor.expected = "422";
  await page.getByLabel("Your address").fill("alice");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password once more").fill("something else");
  await press("Create account");
  await page.getByText("The two passwords differ").waitFor();
  await shot("3-account-slip");
  visitor.expected = null;
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password once more").fill(PASSWORD);
  await shot("3-account");
  await page.getByLabel("Show the passwords").check();
  assert.equal(await page.getByLabel("Password once more").getAttribute("type"), "text");
  await press("Create account");

  await heading("Sending");
  assert(!(await page.getByLabel("Port").isVisible()), "the relay's fields show too early");
  await page.getByLabel("Through a mail provider").check();
  await page.getByLabel("Outgoing mail server").waitFor();
  await shot("4-sending-relay");
  await page.getByLabel("By itself").check();
  await shot("4-sending");
  await press("Next");

  await heading("Tell the world");
  const records = await page.locator(".record").count();
  assert(records >= 4, `only ${records} records to publish`);
  assert(await page.getByText(`mail.${DOMAIN}`).first().isVisible());
  await page.locator("[data-copy]").first().click();
  await page.getByText("Copied").waitFor();
  await press("Check again");
  await page.getByText("Checked at").waitFor();
  assert(await page.locator(".broken").count() > 0, "no record is missed before they are there");
  await shot("5-records-missing");
  // Meanwhile somebody publishes the records.
  const end = Date.now() + 90_000;
  while (await page.locator(".findings > li:not(.ok):not(.skipped)").count() > 0) {
    assert(Date.now() < end, "the records never turn green");
    await page.waitForTimeout(2000);
    await press("Check again");
    await page.getByText("Checked at").waitFor();
  }
  await shot("5-records-seen");
  await press("Next");

  await heading("Your phone");
  await page.getByText(`alice@${DOMAIN}`).first().waitFor();
  await shot("6-phone");
  await press("Back");
  await heading("Tell the world");
  await press("Next");
  await heading("Your phone");
  await press("Finish");

  await heading("All is well");
  await page.getByText(`mail.${DOMAIN}`).first().waitFor();
  await shot("7-status");
  const closed = await page.goto(new URL("/setup", base).href);
  assert.equal(new URL(closed.url()).pathname, "/", "the set-up is still open");
  await page.goto(new URL("/board", base).href);
  await page.locator("[data-word]", { hasText: "READY" }).waitFor();
  await shot("7-board");
});
