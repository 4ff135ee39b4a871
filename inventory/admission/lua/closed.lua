-- Why nobody gets anything of an item now: 5 NOT_OPEN, 6 PAUSED, 7 ENDED; nil when the sale is on.
-- meta: its state, opens_at, closes_at, rebuilding, as HMGET gives them; now in us.
local function closed(meta, now)
  if meta[4] then return 6 end
  if meta[1] == 'ended' or now >= tonumber(meta[3]) then return 7 end
  if now < tonumber(meta[2]) then return 5 end
  if meta[1] == 'paused' then return 6 end
end
