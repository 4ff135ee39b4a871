-- Part of a script: why the item cannot be bought now: 5 NOT_OPEN, 6 PAUSED, 7 ENDED; nil if the sale is live.
-- meta: state, opens_at, closes_at, rebuilding, as returned by HMGET; now in us.
local function closed(meta, now)
  if meta[4] then return 6 end
  if meta[1] == 'ended' or now >= tonumber(meta[3]) then return 7 end
  if now < tonumber(meta[2]) then return 5 end
  if meta[1] == 'paused' then return 6 end
end
