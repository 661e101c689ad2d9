"""Local pages and services in a browser: reviewing boxes, and a model that answers requests.

Nothing here is imported unless one of them is started; FastAPI and uvicorn are optional.
"""
