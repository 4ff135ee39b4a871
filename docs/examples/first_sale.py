import time
import uuid

import httpx

api = httpx.Client(base_url="http://127.0.0.1:8000/api/v1/")
tokens = api.post("auth/token/", json={"username": "customer", "password": "customer"}).raise_for_status().json()
api.headers["Authorization"] = f"Bearer {tokens['access']}"
token = api.post("sales/demo/items/sneaker/purchase-tokens/").raise_for_status().json()["token"]
order = {"token": token, "sku": "sneaker", "quantity": 1, "payment_method": "pm_ok"}
order |= {"source": "readme", "seq": str(uuid.uuid4())}  # yours: the same pair again gets the same order back
placed = api.post("orders/", json=order).raise_for_status().json()
while placed["status"] in ("queued", "reserved", "pending_payment"):
    time.sleep(0.05)
    placed = api.get(f"orders/{placed['id']}/").raise_for_status().json()
print(placed["id"], placed["status"])
