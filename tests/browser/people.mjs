// Signs in to a box in use and looks at the pages of its people: junk, waiting mail, reports.
//
//   node people.mjs BASE-URL SAFE-URL OUTPUT-FOLDER
//
// BASE-URL is the page in the clear, SAFE-URL the encrypted one. The box has what `letters.py` sent
// to OWNER, whose password is PASSWORD; both from the environment. Exits 1 on the first failure.
import assert from "node:assert/strict";
import { visit } from "./browser.mjs";

const [base, safe, folder] = process.argv.slice(2);
const { OWNER, PASSWORD } = process.env;
if (!base || !safe || !folder || !OWNER || !PASSWORD) {
  console.error("usage: OWNER=… PASSWORD=… node people.mjs BASE-URL SAFE-URL OUTPUT-FOLDER");
  process.exit(2);
}

await visit({ base, folder, title: "the way to sign in" }, async (visitor, page) => {
  await page.goto(base);
  await page.getByRole("link", { name: "Sign in" }).click();
  await visitor.heading("Sign in");
  assert.equal(await page.locator("input[type=password]").count(), 0, "a password in the clear");
  await visitor.shot("people-0-in-the-clear");
  const link = await page.getByRole("link", { name: "Go on encrypted" }).getAttribute("href");
  assert.equal(new URL(link).origin, new URL(safe).origin);
});

const opened = { base: safe, folder, title: "the pages of the people", secret: PASSWORD };
await visit(opened, async (visitor, page) => {
  const shot = (name) => visitor.shot(`people-${name}`);
  await page.goto(new URL("/queue", safe).href);
  await visitor.heading("Sign in");
  visitor.expected = "403";
  await page.getByLabel("Your address").fill(OWNER);
  await page.getByLabel("Password").fill("not this one");
  await visitor.press("Sign in");
  await page.getByText("Address or password is not right").waitFor();
  await shot("1-wrong-password");
  visitor.expected = null;
  await page.getByLabel("Password").fill(PASSWORD);
  await visitor.press("Sign in");

  await visitor.heading("Waiting mail");
  await page.getByText("the mailbox is full").first().waitFor();
  await shot("2-queue");
  await visitor.press("Send now");
  await visitor.heading("Waiting mail");

  await page.getByRole("link", { name: "Junk" }).click();
  await visitor.heading("Junk");
  await page.getByText("Your parcel could not be delivered").first().waitFor();
  await page.getByText("EVERYTHING MUST GO").first().waitFor();
  await page.getByText("<script>alert(1)</script>").first().waitFor();
  await shot("3-junk");
  await page.getByText("Change when mail is junk").click();
  await page.getByLabel("My own marks").check();
  visitor.expected = "422";
  await page.getByLabel("To Junk from").fill("5");
  await visitor.press("Keep");
  await page.getByText("not from 5 on").waitFor();
  await shot("4-marks-slip");
  visitor.expected = null;
  await page.getByLabel("To Junk from").fill("45");
  await visitor.press("Keep");
  await page.getByText("From 45 points on").waitFor();
  await page.getByText("Why").first().click();
  await page.getByText("a program is attached that is named like a document").first().waitFor();
  await shot("5-why");

  await page.getByRole("link", { name: "Reports" }).click();
  await visitor.heading("What others report");
  // Reports are read some seconds after they came.
  const told = page.getByRole("cell", { name: "42 messages, all passed" });
  for (let tries = 0; tries < 30 && (await told.count()) === 0; tries += 1) {
    await page.waitForTimeout(1000);
    await page.reload();
  }
  await told.waitFor();
  await shot("6-reports");
  await page.getByRole("link", { name: "The box" }).click();
  await visitor.heading("All is well");
  await shot("7-status");

  await visitor.press("Sign out");
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  await page.goto(new URL("/junk", safe).href);
  await visitor.heading("Sign in");
});
