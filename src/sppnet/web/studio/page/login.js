// Gives the password, and opens the page that was asked for.

const byId = (id) => document.getElementById(id);

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const content = { name: byId("name").value.trim(), password: byId("password").value };
  const response = await fetch("api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  }).catch(() => null);
  if (response?.ok) return location.reload();
  const { detail } = (await response?.json().catch(() => null)) ?? { detail: "The studio does not answer." };
  byId("refused").textContent = detail;
  byId("refused").hidden = false;
  return byId("password").select();
});
